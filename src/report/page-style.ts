/** The style sheet of the report. Light unless the reader's system is dark; colors of Okabe and Ito, adapted to each. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1d1f21; --quiet: #5c6165; --line: #d9dbdc; --tint: #f3f4f3;
  --sft: #7d8287; --dpo: #0072b2; --ppo: #d55e00; --best-of-n: #00845f; --alarm: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181a; --ink: #e6e6e3; --quiet: #a2a7ab; --line: #34383b; --tint: #1f2224;
    --sft: #8f959a; --dpo: #56b4e9; --ppo: #f08a45; --best-of-n: #35c59a; --alarm: #ff8a80;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 50rem; margin: 0 auto; padding: 2.5rem 1rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 2rem 0 .5rem; }
h4 { font-size: .9rem; margin: 0 0 .25rem; }
p { margin: .5rem 0; max-width: 42rem; }
.about, .note, .absent, small { color: var(--quiet); }
.about, .note { font-size: .875rem; }
.lead { font-size: 1.125rem; line-height: 1.5; margin: 1.25rem 0 1rem; }
.verdicts { margin: 1rem 0; padding-left: 1.2rem; max-width: 42rem; }
.verdicts li { margin: .3rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .9rem; }
.key { font-size: .8em; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.25rem 1.75rem; margin: .75rem 0; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .9rem; font-weight: 600; margin-bottom: .25rem; }
figcaption small { font-weight: 400; }
.chart { display: block; width: 100%; max-width: 30rem; height: auto; overflow: visible; }
.chart text { white-space: pre; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
caption { text-align: left; font-weight: 600; padding: .75rem 0 .25rem; }
th, td { padding: .4rem .75rem .4rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; }
th { font-weight: 600; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
td small, dd small { white-space: nowrap; }
.figures { width: 100%; }
.figures td small { display: block; }
.stages { width: 100%; }
.stages th small { display: block; }
.stages td { white-space: nowrap; }
.stages .bar { width: 35%; vertical-align: middle; }
.bar span { display: block; height: .6rem; background: var(--quiet); min-width: 1px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: .75rem 1.75rem; margin: .75rem 0; }
dt { font-size: .875rem; color: var(--quiet); }
dd { margin: 0; font-variant-numeric: tabular-nums; }
blockquote { margin: 0 0 .75rem; padding: 0 0 0 .75rem; border-left: 2px solid var(--line); white-space: pre-wrap; max-width: 42rem; }
.completions { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem 1.75rem; }
.completions > section { min-width: 0; }
.completion { white-space: pre-wrap; margin: 0; }
.scores { font-size: .875rem; color: var(--quiet); margin: .25rem 0 0; font-variant-numeric: tabular-nums; }
.scores strong { color: var(--alarm); }
details { margin: .75rem 0; }
summary { cursor: pointer; font-size: .9rem; color: var(--quiet); }
pre { overflow-x: auto; background: var(--tint); padding: .75rem 1rem; border-radius: 3px; font-size: .875rem; line-height: 1.5; }
:focus-visible { outline: 2px solid var(--dpo); outline-offset: 2px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 30rem) {
  main { padding-top: 1.5rem; }
  .lead { font-size: 1.05rem; }
  table { font-size: .85rem; }
  th, td { padding-right: .6rem; }
  .figures tr { display: grid; grid-template-columns: repeat(var(--policies), minmax(0, 1fr)); column-gap: .6rem; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .figures tr > * { border: 0; padding: 0; text-align: left; }
  .figures tbody th { grid-column: 1 / -1; color: var(--quiet); }
  .figures thead th:first-child { display: none; }
  .figures td small { font-size: .75rem; white-space: normal; }
  .stages .bar { display: none; }
  .stages thead td, .stages tfoot td:empty { display: none; }
}
`;
