"""The style sheet of the report: light and dark, for screen and paper; no font, picture or script from elsewhere."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfd; --panel: #f4f6f8; --ink: #1d232c; --muted: #687180; --line: #dde1e7;
  --run: #1f66b3; --untrained: #c27c1e; --pixels: #8b93a1;
  --good: #1d7a46; --warn: #96600c; --bad: #b3261e; --calm: #56606e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181d; --panel: #1e2228; --ink: #e6e9ee; --muted: #9aa4b2; --line: #333a44;
    --run: #6fb0f2; --untrained: #e3a655; --pixels: #8f98a6;
    --good: #5cc48b; --warn: #e3b052; --bad: #f2857c; --calm: #a5afbc;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1040px; margin: 0 auto; padding: 48px 28px 72px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 2px 0 14px; overflow-wrap: anywhere; }
h2 {
  font-size: 21px; letter-spacing: -0.01em;
  margin: 40px 0 14px; padding-top: 22px; border-top: 1px solid var(--line);
}
h3 { font-size: 15px; margin: 0 0 6px; }
p { margin: 0 0 12px; max-width: 74ch; }
.over { color: var(--muted); font-size: 14px; margin: 0; }
.verdict { display: flex; gap: 12px; align-items: baseline; font-size: 17px; margin-bottom: 22px; }
.verdict p { margin: 0; }
.verdict p::first-letter { text-transform: uppercase; }
.badge {
  flex: none; border: 1.5px solid currentColor; border-radius: 99px; padding: 1px 12px;
  font-size: 14px; font-weight: 600; white-space: nowrap;
}
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .calm { color: var(--calm); }
.note {
  background: var(--panel); border-left: 3px solid var(--calm);
  padding: 10px 16px; margin: 0 0 16px; max-width: none;
}
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 8px 48px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0 0 14px; align-content: start; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 14px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 26px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 400; } thead th { color: var(--muted); }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
.words { width: 100%; table-layout: fixed; }
.words th:first-child { width: 20%; } .words th:nth-child(2) { width: 16%; }
.range { color: var(--muted); font-size: 13px; font-weight: 400; margin-left: 7px; white-space: nowrap; }
.ours { color: var(--run); font-weight: 600; }
figure { margin: 0 0 24px; break-inside: avoid; }
figcaption { color: var(--muted); font-size: 14px; line-height: 1.45; margin-top: 8px; max-width: 84ch; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 14px 30px; }
.curves figcaption { font-size: 13px; margin-top: 2px; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
.wide { max-width: 780px; overflow-x: auto; }
.wide svg { min-width: 520px; }
.pictures { display: grid; gap: 10px; }
.pictures img { display: block; width: 100%; border-radius: 3px; }
.pixelated { image-rendering: pixelated; }
.tiles { grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); font-size: 12px; line-height: 1.35; }
.tiles span { display: block; color: var(--muted); margin-top: 3px; overflow-wrap: anywhere; }
.four { grid-template-columns: repeat(4, 1fr); }
.rows {
  grid-template-columns: 84px repeat(var(--count), 1fr); align-items: center;
  gap: 6px; font-size: 13px; color: var(--muted);
}
.neighbours {
  grid-template-columns: 1fr 12px repeat(var(--count), 1fr); gap: 12px 6px; max-width: 860px;
  font-size: 12px; line-height: 1.35; color: var(--muted);
}
.neighbours span { display: block; text-align: center; margin-top: 3px; overflow: hidden; text-overflow: ellipsis; }
details { margin: 0 0 14px; } summary { cursor: pointer; color: var(--run); }
details > :not(summary) { margin-top: 12px; }
pre {
  background: var(--panel); border-radius: 6px; padding: 14px 18px; margin: 0 0 14px;
  font: 14px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
.word { white-space: nowrap; }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { color: var(--muted); font-size: 13px; margin-top: 48px; }
@media print {
  body { font-size: 11pt; background: none; } main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  .curves { grid-template-columns: repeat(3, 1fr); } .columns { grid-template-columns: 1fr 1fr; }
}
"""
