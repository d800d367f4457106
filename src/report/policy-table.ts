import { keyOf } from './chart.ts';
import { formatInterval, policyLabel } from './format.ts';
import { type Html, html } from './html.ts';
import type { Estimate, PolicyName } from './quickstart-report.ts';

export interface PolicyRow {
  readonly label: string;
  readonly format: (value: number) => string;
  readonly estimate: (policy: PolicyName) => Estimate | undefined;
}

/**
 * Figures with their intervals, a row each and a column per policy. An interval whose ends read the same is left out. On
 * a phone each label stands above its figures, so that four policies fit.
 *
 * @param label what the table shows
 */
export function policyTable(
  label: string,
  policies: readonly PolicyName[],
  rows: readonly PolicyRow[],
): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${label}"><table class="figures" style="--policies:${policies.length}">
<thead><tr><th scope="col"><span class="unseen">figure</span></th>${policies.map(
    (name) => html`<th scope="col">${keyOf(name)} ${policyLabel(name)}</th>`,
  )}</tr></thead>
<tbody>
${rows.map(
  ({ label: row, format, estimate }) =>
    html`<tr><th scope="row">${row}</th>${policies.map((name) => cell(estimate(name), format))}</tr>
`,
)}</tbody>
</table></div>`;
}

function cell(estimate: Estimate | undefined, format: (value: number) => string): Html {
  if (estimate === undefined) return html`<td>–</td>`;
  const { mean, low, high } = estimate;
  const interval =
    format(low) === format(high) ? undefined : html` <small>${formatInterval(estimate, format)}</small>`;
  return html`<td>${format(mean)}${interval}</td>`;
}
