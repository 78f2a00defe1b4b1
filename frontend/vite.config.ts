import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The bundle is committed in ../static, from where zaidash serves it. All addresses in it are
// relative, so the page works below any path.
export default defineConfig({
  base: "./",
  plugins: [react(), tailwindcss()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the Content-Security-Policy knows files, not data
    reportCompressedSize: false,
  },
  // `npm run dev` beside a `python zaidash.py --demo`.
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
  // The code under test is pure: no file needs a process of its own.
  test: { include: ["src/**/*.test.ts"], pool: "threads", isolate: false },
});
