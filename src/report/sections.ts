/** The parts of the report that need no chart. */
import { keyOf } from './chart.ts';
import {
  formatFixed,
  formatInterval,
  formatMemory,
  formatSeconds,
  formatShare,
  isPolicy,
  policyLabel,
} from './format.ts';
import { type Html, html } from './html.ts';
import { policyNames, type QuickstartReport, type Sample } from './quickstart-report.ts';

/** Samples that stand open; the others unfold. */
const OPEN_SAMPLES = 6;

export function rewardModelSection({ rewardModel }: QuickstartReport): Html {
  const { accuracy, ece, margin, pairs } = rewardModel;
  return html`<dl>
<div><dt>Held-out pairs ordered as labelled${pairs === undefined ? undefined : `, of ${formatFixed(pairs, 0)}`}</dt><dd>${formatShare(accuracy.mean)} <small>${formatInterval(accuracy, formatShare)}</small></dd></div>
<div><dt>Calibration error</dt><dd>${formatShare(ece)}</dd></div>
${margin === undefined ? undefined : html`<div><dt>Mean margin, chosen − rejected</dt><dd>${formatFixed(margin)}</dd></div>`}
</dl>`;
}

export function samplesSection({ samples }: QuickstartReport): Html {
  if (samples.length === 0) return html`<p class="absent">This run kept no samples.</p>`;
  const rest = samples.slice(OPEN_SAMPLES);
  return html`${samples.slice(0, OPEN_SAMPLES).map(sampleArticle)}
${
  rest.length > 0
    ? html`<details>
<summary>${rest.length} more</summary>
${rest.map(sampleArticle)}
</details>`
    : undefined
}`;
}

function sampleArticle({ prompt, kind, completions }: Sample): Html {
  const names = Object.keys(completions);
  const ordered = [
    ...policyNames.filter((name) => names.includes(name)),
    ...names.filter((name) => !isPolicy(name)),
  ];
  return html`<article class="sample">
<h3>${kind}</h3>
<blockquote>${prompt}</blockquote>
<div class="completions">
${ordered.map((name) => {
  const { text, reward, cost } = completions[name]!;
  return html`<section aria-label="${policyLabel(name)}">
<h4>${keyOf(name)} ${policyLabel(name)}</h4>
${text === '' ? html`<p class="completion absent">(nothing)</p>` : html`<p class="completion">${text}</p>`}
<p class="scores">reward ${formatFixed(reward)} · cost ${formatFixed(cost)}${cost > 0 ? html` <strong>unsafe</strong>` : undefined}</p>
</section>
`;
})}</div>
</article>
`;
}

export function stagesSection({ stages }: QuickstartReport): Html {
  if (stages.length === 0) return html`<p class="absent">This run recorded no times.</p>`;
  const longest = Math.max(...stages.map(({ seconds }) => seconds), Number.MIN_VALUE);
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const peak = Math.max(...stages.map(({ peakMemoryBytes }) => peakMemoryBytes));
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Time and memory per stage"><table class="stages">
<thead><tr><th scope="col">stage</th><th scope="col">time</th><td aria-hidden="true"></td><th scope="col">peak memory</th></tr></thead>
<tbody>
${stages.map(
  ({ name, seconds, peakMemoryBytes, note }) =>
    html`<tr><th scope="row">${name}${note === undefined ? undefined : html` <small>${note}</small>`}</th><td>${formatSeconds(seconds)}</td><td class="bar" aria-hidden="true"><span style="width:${((100 * seconds) / longest).toFixed(1)}%"></span></td><td>${formatMemory(peakMemoryBytes)}</td></tr>
`,
)}</tbody>
<tfoot><tr><th scope="row">all</th><td>${formatSeconds(total)}</td><td aria-hidden="true"></td><td>${formatMemory(peak)}</td></tr></tfoot>
</table></div>`;
}

export function reproduceSection({ command, seed, size, heedVersion, machine }: QuickstartReport): Html {
  return html`<pre tabindex="0"><code>${command}</code></pre>
<dl>
<div><dt>heed</dt><dd>${heedVersion}</dd></div>
<div><dt>Size</dt><dd>${size}</dd></div>
<div><dt>Seed</dt><dd>${String(seed)}</dd></div>
<div><dt>Machine</dt><dd>${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}, ${formatMemory(machine.memoryBytes)}, ${machine.platform}, Node.js ${machine.node}</dd></div>
</dl>`;
}
