/** Gold and learned reward against KL: where the two part, the learned reward is being exploited. */
import { dot, lineY, ruleX } from '@observablehq/plot';
import { drawChart, keyOf, lookOf } from './chart.ts';
import { capitalize, formatFixed, formatInterval, formatList, policyLabel } from './format.ts';
import { type Html, html } from './html.ts';
import type { CurvePoint, QuickstartReport, RewardCurve } from './quickstart-report.ts';

export function rewardCurves({ curves, goldName = 'gold reward' }: QuickstartReport): Html {
  const drawn = curves.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return html`<p class="absent">This run recorded no reward along the way.</p>`;
  return html`<p class="legend">${drawn.map(
    ({ name }) => html`<span>${keyOf(name)} ${policyLabel(name)}</span> `,
  )}</p>
<div class="charts">
<figure>
<figcaption>${capitalize(goldName)}, the truth</figcaption>
${panel(drawn, goldName, ({ gold }) => gold, true)}
</figure>
<figure>
<figcaption>Learned reward, what is optimized</figcaption>
${panel(drawn, 'learned reward', ({ learnedReward }) => learnedReward, false)}
</figure>
</div>
${
  drawn.some(({ points }) => points.some(({ goldInterval }) => goldInterval !== undefined))
    ? html`<p class="note">Vertical lines are 95 % intervals.</p>`
    : undefined
}
<details>
<summary>These curves as a table</summary>
${table(drawn, goldName)}
</details>`;
}

function panel(
  curves: readonly RewardCurve[],
  what: string,
  value: (point: CurvePoint) => number,
  intervals: boolean,
): Html {
  const label = `Chart of ${what} against KL to the SFT policy. ${formatList(
    curves.map(({ name, points }) => {
      const [first, last] = [points[0]!, points.at(-1)!];
      return `${policyLabel(name)}: ${formatFixed(value(first))} at ${formatFixed(first.kl)} nats, ${formatFixed(value(last))} at ${formatFixed(last.kl)} nats`;
    }),
  )}.`;
  return drawChart(label, {
    height: 240,
    marginLeft: 44,
    marginBottom: 38,
    x: {
      label: 'KL to SFT, nats per completion',
      labelAnchor: 'center',
      labelArrow: 'none',
      nice: true,
      ticks: 5,
    },
    y: { label: null, grid: true, nice: true, ticks: 5 },
    marks: curves.flatMap(({ name, points }) => {
      const { color, symbol } = lookOf(name);
      const bars = intervals
        ? points.flatMap(({ kl, goldInterval }) => (goldInterval ? [{ kl, ...goldInterval }] : []))
        : [];
      return [
        ruleX(bars, { x: 'kl', y1: 'low', y2: 'high', stroke: color, strokeOpacity: 0.5 }),
        // In the order of the run: KL may fall again.
        lineY(points, { x: 'kl', y: value, stroke: color, strokeWidth: 1.75 }),
        dot(points, { x: 'kl', y: value, fill: color, stroke: 'none', symbol, r: 3.5 }),
      ];
    }),
  });
}

function table(curves: readonly RewardCurve[], goldName: string): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Reward against KL"><table>
<thead><tr><th scope="col">policy</th><th scope="col">step or n</th><th scope="col">KL, nats</th><th scope="col">learned reward</th><th scope="col">${goldName}</th></tr></thead>
<tbody>
${curves.flatMap(({ name, points }) =>
  points.map(
    ({ step, kl, learnedReward, gold, goldInterval }) =>
      html`<tr><th scope="row">${policyLabel(name)}</th><td>${step}</td><td>${formatFixed(kl)}</td><td>${formatFixed(learnedReward)}</td><td>${formatFixed(gold)}${
        goldInterval && html` <small>${formatInterval(goldInterval, formatFixed)}</small>`
      }</td></tr>
`,
  ),
)}</tbody>
</table></div>`;
}
