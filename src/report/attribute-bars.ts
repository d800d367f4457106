/** Gold attributes of each policy, before and after, as bars with intervals. */
import { axisFy, barX, ruleX, ruleY } from '@observablehq/plot';
import { drawChart, keyOf, lookOf } from './chart.ts';
import { formatMeasure, policyLabel, wordsOf } from './format.ts';
import { type Html, html } from './html.ts';
import { type PolicyRow, policyTable } from './policy-table.ts';
import { type Estimate, type PolicyName, policyNames, type QuickstartReport } from './quickstart-report.ts';

interface Row extends Estimate {
  readonly attribute: string;
  readonly policy: PolicyName;
}

/** Height of one policy's bar, in units of the chart. */
const BAR = 12;

export function attributeBars({ policies }: QuickstartReport): Html {
  const present = policyNames.filter((name) => policies[name] !== undefined);
  const rows = present.flatMap((policy) =>
    Object.entries(policies[policy]!.attributes).map(
      ([attribute, estimate]): Row => ({ ...estimate, attribute, policy }),
    ),
  );
  if (rows.length === 0) return html`<p class="absent">This run measured no attributes.</p>`;
  const names = [...new Set(rows.map(({ attribute }) => attribute))];
  const shares = names.filter((name) =>
    rows.every(({ attribute, low, high }) => attribute !== name || (low >= 0 && high <= 1)),
  );
  const others = names.filter((name) => !shares.includes(name));
  // Two columns of nearly equal height; on a phone they follow each other.
  const half = Math.ceil(shares.length / 2);
  const columns = [shares.slice(0, half), shares.slice(half)].filter((column) => column.length > 0);
  return html`${
    shares.length > 0
      ? html`<p class="legend">${present.map((name) => html`<span>${keyOf(name)} ${policyLabel(name)}</span> `)}</p>
<div class="charts">
${columns.map((column) => html`<figure>${bars(column, present, rows)}</figure>\n`)}</div>
<p class="note">Means from 0 to 1 with 95 % intervals. More is better, except for refusals and flattery.</p>`
      : undefined
  }
${
  others.length > 0
    ? html`<p>Measured in numbers that are not within 0 and 1:</p>
${policyTable('Attributes that are not within 0 and 1', present, tableRows(others, rows))}`
    : undefined
}
${
  shares.length > 0
    ? html`<details>
<summary>These bars as a table</summary>
${policyTable('Attributes', present, tableRows(shares, rows))}
</details>`
    : undefined
}`;
}

function bars(attributes: readonly string[], present: readonly PolicyName[], rows: readonly Row[]): Html {
  const shown = rows
    .filter(({ attribute }) => attributes.includes(attribute))
    .map((row) => ({ ...row, attribute: wordsOf(row.attribute) }));
  const interval = { fy: 'attribute', y: 'policy', x1: 'low', x2: 'high' } as const;
  const color = ({ policy }: Row): string => lookOf(policy).color;
  const label = `Bars of ${attributes.map(wordsOf).join(', ')} for ${present.map(policyLabel).join(', ')}. The table below has the numbers.`;
  return drawChart(label, {
    height: 34 + attributes.length * (present.length * BAR + 14),
    margin: 0,
    marginLeft: 100,
    marginRight: 10,
    marginBottom: 26,
    marginTop: 4,
    x: { domain: [0, 1], ticks: 5, label: null, grid: true },
    y: { domain: present, axis: null, paddingInner: 0.2, paddingOuter: 0 },
    fy: { domain: attributes.map(wordsOf), padding: 0.2, label: null },
    color: { type: 'identity' },
    marks: [
      axisFy({ anchor: 'left', label: null, tickPadding: 8, tickSize: 0 }),
      barX(shown, { fy: 'attribute', y: 'policy', x: 'mean', fill: color }),
      // The line stands out from dark and light bars by its edge in the color of the page.
      ruleY(shown, { ...interval, stroke: 'var(--paper)', strokeWidth: 3.5 }),
      ruleY(shown, { ...interval, stroke: 'currentColor', strokeWidth: 1.25 }),
      ruleX([0], { stroke: 'currentColor' }),
    ],
  });
}

const tableRows = (attributes: readonly string[], rows: readonly Row[]): PolicyRow[] =>
  attributes.map((name) => ({
    label: wordsOf(name),
    format: formatMeasure,
    estimate: (policy) => rows.find((row) => row.attribute === name && row.policy === policy),
  }));
