// The status of every variant and the last snapshots, live. All addresses are relative, so the
// page also works under a sub-path behind a reverse proxy.

const ROWS = 20;
const RECHECK_MS = 10_000;

const number = (digits) => (value) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const milliseconds = (value) => (value === null ? "–" : value < 1000 ? `${number(0)(value)} ms` : `${number(2)(value / 1000)} s`);
const percent = (value) => (value === null ? "–" : `${number(2)(value)} %`);
const ratio = (value) => (value === null ? "–" : `${number(0)(value * 100)} %`);
const time = (value) => (value === null ? "never" : new Date(value).toLocaleTimeString("en", { hour12: false }));

// Column title, field, formatter.
const STATUS_COLUMNS = [
  ["requests/s", "req_rate", number(1)],
  ["errors", "error_rate_pct", percent],
  ["p50", "latency_p50_ms", milliseconds],
  ["concurrent", "concurrent", number(0)],
  ["workers busy", "worker_utilization", ratio],
  ["limit, req/s", "rate_limit_rps", number(1)],
  ["tokens/s in", "token_rate_in", number(0)],
  ["tokens/s out", "token_rate_out", number(0)],
  ["last scrape", "last_scrape", time],
];
const SNAPSHOT_COLUMNS = [
  ["requests/s", "req_rate", number(1)],
  ["errors", "error_rate_pct", percent],
  ["p50", "latency_p50", milliseconds],
  ["p95", "latency_p95", milliseconds],
  ["p99", "latency_p99", milliseconds],
  ["concurrent", "concurrent_requests", number(0)],
  ["tokens/s in", "token_rate_in", number(0)],
  ["tokens/s out", "token_rate_out", number(0)],
];

const snapshots = [];
const $ = (id) => document.getElementById(id);

function cell(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function row(...cells) {
  const element = document.createElement("tr");
  element.append(...cells);
  return element;
}

function fill(table, titles, rows) {
  table.tHead.replaceChildren(row(...titles.map((title) => cell("th", title))));
  table.tBodies[0].replaceChildren(...rows);
}

function drawStatus(status) {
  const rows = Object.entries(status).map(([variant, values]) =>
    row(
      cell("td", variant),
      values.healthy ? cell("td", "✓ healthy", "good") : cell("td", "✗ not healthy", "bad"),
      ...STATUS_COLUMNS.map(([, field, format]) => cell("td", format(values[field]))),
    ),
  );
  fill($("status"), ["variant", "health", ...STATUS_COLUMNS.map(([title]) => title)], rows);
}

function drawSnapshots() {
  const rows = snapshots.map((snapshot) =>
    row(
      cell("td", time(snapshot.timestamp)),
      cell("td", snapshot.variant),
      ...SNAPSHOT_COLUMNS.map(([, field, format]) => cell("td", format(snapshot[field]))),
    ),
  );
  fill($("snapshots"), ["time", "variant", ...SNAPSHOT_COLUMNS.map(([title]) => title)], rows);
}

async function fetchJson(address) {
  const response = await fetch(address);
  return { ok: response.ok, body: await response.json() };
}

// What is wrong: the storage from readyz, every target that is down from api/targets.
async function check() {
  try {
    const [status, ready, targets] = await Promise.all(["api/status", "readyz", "api/targets"].map(fetchJson));
    drawStatus(status.body);
    const down = targets.body.filter((target) => target.last_error || target.warning);
    const trouble = [
      ...(ready.ok ? [] : ready.body.reasons),
      ...down.map((target) => `${target.url}: ${target.last_error ?? target.warning}`),
    ];
    $("trouble").textContent = trouble.join(" · ");
    $("trouble").hidden = trouble.length === 0;
  } catch (error) {
    $("connection").textContent = `no answer from zaidash (${error.message})`;
  }
}

function add(snapshot) {
  snapshots.unshift(snapshot);
  snapshots.length = Math.min(snapshots.length, ROWS);
}

async function start() {
  const { ok, body } = await fetchJson("api/metrics?range=5m");
  const newest = {};
  if (ok) {
    body.slice(-ROWS).forEach(add);
    body.forEach(({ variant, timestamp }) => (newest[variant] = timestamp));
    drawSnapshots();
  }
  // The stream begins where the history ends: nothing in between is missing or double.
  const position = Object.entries(newest).map(([variant, timestamp]) => `${variant}=${timestamp}`);
  const events = new EventSource(`api/events?last_event_id=${encodeURIComponent(position.join(","))}`);
  events.onopen = () => ($("connection").textContent = "live");
  events.onerror = () => ($("connection").textContent = "reconnecting …");
  events.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "metrics") {
      add(message.data);
      drawSnapshots();
    }
    if (message.type !== "connected") check();
  };
}

check();
start();
setInterval(check, RECHECK_MS);
