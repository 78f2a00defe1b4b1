import { createRoot } from "react-dom/client";
import { App } from "./App";
import { ErrorBoundary } from "./components/ErrorBoundary";
import "./index.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <ErrorBoundary name="The page">
      <App />
    </ErrorBoundary>,
  );
}
