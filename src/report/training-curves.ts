/** Metrics over the steps of the stages, as small charts side by side. */
import { lineY } from '@observablehq/plot';
import { mean } from '../core/statistics.ts';
import { drawChart } from './chart.ts';
import { capitalize, formatMeasure, policyLabel } from './format.ts';
import { type Html, html } from './html.ts';
import type { QuickstartReport, TrainingCurve } from './quickstart-report.ts';

type Point = TrainingCurve['points'][number];

/** More points than this in 300 pixels are noise to the eye and weight to the page. */
const MOST_DRAWN = 120;
/** Rows of a table that someone may read through. */
const MOST_LISTED = 20;

export function trainingCurves({ training }: QuickstartReport): Html {
  const drawn = training.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return html`<p class="absent">This run recorded no metrics of training.</p>`;
  return html`<div class="charts">
${drawn.map((curve) => html`${figure(curve)}\n`)}</div>
<details>
<summary>These curves as tables</summary>
${drawn.map(table)}
</details>`;
}

const stageLabel = (name: string): string => capitalize(policyLabel(name));

function figure({ name, metric, unit, points }: TrainingCurve): Html {
  const thin = thinPoints(points, MOST_DRAWN);
  const width = Math.ceil(points.length / thin.length);
  const [first, last] = [thin[0]!, thin.at(-1)!];
  const label = `Chart of ${metric} of ${stageLabel(name)} by step: ${formatMeasure(first.value)} at step ${first.step}, ${formatMeasure(last.value)} at step ${last.step}.`;
  return html`<figure>
<figcaption>${stageLabel(name)}: ${metric}${unit === '' ? undefined : html` <small>${unit}</small>`}</figcaption>
${drawChart(label, {
  height: 160,
  marginLeft: 44,
  marginRight: 14,
  marginBottom: 36,
  marginTop: 12,
  x: {
    zero: true,
    label: 'step',
    labelAnchor: 'center',
    labelArrow: 'none',
    ticks: 5,
    tickFormat: (step: number) => formatMeasure(step),
  },
  y: { label: null, grid: true, nice: true, ticks: 4 },
  marks: [
    lineY(thin, {
      x: 'step',
      y: 'value',
      stroke: 'var(--ink)',
      strokeWidth: 1.5,
      ...(thin.length === 1 ? { marker: 'dot' } : {}),
    }),
  ],
})}
${width > 1 ? html`<p class="note">Each point is the mean of up to ${width} records.</p>` : undefined}
</figure>`;
}

function table({ name, metric, unit, points }: TrainingCurve): Html {
  const title = `${stageLabel(name)}: ${metric}${unit === '' ? '' : `, ${unit}`}`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${title}"><table>
<caption>${title}</caption>
<thead><tr><th scope="col">step</th><th scope="col">mean up to it</th></tr></thead>
<tbody>
${thinPoints(points, MOST_LISTED).map(
  ({ step, value }) => html`<tr><th scope="row">${step}</th><td>${formatMeasure(value)}</td></tr>
`,
)}</tbody>
</table></div>`;
}

/**
 * At most `most` points, each the mean value of equally many consecutive ones (the last of fewer), at the last step of
 * them. All points as they are when there are few.
 *
 * @example thinPoints([{ step: 1, value: 2 }, { step: 2, value: 4 }, { step: 3, value: 9 }], 2);
 * // [{ step: 2, value: 3 }, { step: 3, value: 9 }]
 */
export function thinPoints(points: readonly Point[], most: number): Point[] {
  const width = Math.max(1, Math.ceil(points.length / most));
  return Array.from({ length: Math.ceil(points.length / width) }, (_, index) => {
    const group = points.slice(index * width, (index + 1) * width);
    return { step: group.at(-1)!.step, value: mean(group.map(({ value }) => value)) };
  });
}
