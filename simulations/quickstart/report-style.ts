/** The style of the report. Colours are chosen to keep apart for people who see few of them, in light and dark. */

/** CSS of the whole page. */
export const style = `
:root { color-scheme: light dark; --page: #fbfbf9; --card: #ffffff; --text: #1d2327; --soft: #5d676e; --line: #e3e5e1;
  --federated: #0b6e8a; --pooled: #7b5ea7; --head: #b07a1e; --local: #5f8a3c; --bagOfWords: #8a8f94; }
@media (prefers-color-scheme: dark) { :root { --page: #14181b; --card: #1b2126; --text: #e6eaec; --soft: #9aa5ad; --line: #2d353b;
  --federated: #4cb8d6; --pooled: #b79be0; --head: #e0ac55; --local: #9ac574; --bagOfWords: #8d969d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
.brand { margin: 0; color: var(--federated); font-weight: 600; letter-spacing: .02em; }
h1 { margin: .2rem 0 .8rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 0 0 1rem; font-size: 1.15rem; } h3 { margin: 1.5rem 0 .4rem; font-size: 1rem; }
.share { background: color-mix(in srgb, var(--federated) var(--strength), transparent); }
.lead { margin: 0 0 1.5rem; font-size: 1.08rem; max-width: 48rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.3rem 1.4rem; margin: 0 0 1.2rem; }
.note { color: var(--soft); font-size: .88rem; margin: .9rem 0 0; }
.bars { margin: 0 0 1.4rem; }
.bar { display: grid; grid-template-columns: 22rem 1fr 4.2rem; gap: .9rem; align-items: center; margin: .45rem 0; }
.bar .track { background: var(--line); border-radius: .3rem; height: 1rem; overflow: hidden; }
.bar .fill { display: block; height: 100%; border-radius: .3rem; }
.bar .value { text-align: right; font-variant-numeric: tabular-nums; }
.bar.federated .label, .bar.federated .value { font-weight: 650; }
.bar.federated .fill { background: var(--federated); } .bar.pooled .fill { background: var(--pooled); } .bar.head .fill { background: var(--head); }
.bar.local .fill { background: var(--local); } .bar.bagOfWords .fill { background: var(--bagOfWords); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .55rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child { text-align: left; white-space: normal; min-width: 11rem; }
thead th { color: var(--soft); font-weight: 500; } tbody th { font-weight: 400; } tbody th.federated { font-weight: 650; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.2rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; margin: 0 0 .3rem; }
.chart { width: 100%; height: auto; display: block; }
.chart .grid { stroke: var(--line); } .chart .tick { fill: var(--soft); font-size: 13px; } .chart .name { font-size: 14px; font-weight: 600; }
.chart .line polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.chart .faint polyline { stroke-width: 1; opacity: .55; } .chart .faint circle { display: none; }
.line.federated polyline { stroke: var(--federated); stroke-width: 3; } .line.federated circle, .name.federated { fill: var(--federated); }
.line.pooled polyline { stroke: var(--pooled); } .line.pooled circle, .name.pooled { fill: var(--pooled); }
.line.head polyline { stroke: var(--head); } .line.head circle, .name.head { fill: var(--head); }
.line.local polyline { stroke: var(--local); } .line.local circle, .name.local { fill: var(--local); }
ul { margin: 0; padding-left: 1.2rem; } li { margin: .35rem 0; }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .35rem 1rem; margin: 0; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { section { padding: 1.1rem 1rem; } table { font-size: .82rem; } th, td { padding: .35rem .4rem; } th:first-child { min-width: 7rem; }
  .bar { grid-template-columns: 1fr 4.2rem; gap: .25rem .9rem; margin: .8rem 0; } .bar .track { grid-column: 1 / -1; grid-row: 2; } dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .6rem; } }
@media print { body { background: none; } section { break-inside: avoid; } }
`.trim();
