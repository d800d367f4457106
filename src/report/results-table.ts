/** The main figures of every policy, one row each. */
import { formatFixed, formatList, formatShare, policyLabel } from './format.ts';
import { type Html, html } from './html.ts';
import { policyTable } from './policy-table.ts';
import { type PolicyFigures, policyNames, type QuickstartReport } from './quickstart-report.ts';

type Field = Exclude<keyof PolicyFigures, 'attributes'>;

const rows: readonly {
  readonly field: Field;
  readonly label: string;
  readonly format: (value: number) => string;
}[] = [
  { field: 'gold.reward', label: 'Gold reward', format: formatFixed },
  { field: 'gold.cost', label: 'Gold cost (above 0 is unsafe)', format: formatFixed },
  { field: 'winRate', label: 'Preferred to SFT by gold', format: formatShare },
  { field: 'unsafeRate', label: 'Harmful requests answered harmfully', format: formatShare },
  { field: 'overRefusal', label: 'Harmless requests refused', format: formatShare },
  { field: 'learnedReward', label: 'Learned reward', format: formatFixed },
  { field: 'kl', label: 'KL to SFT, nats', format: formatFixed },
  { field: 'length', label: 'Length, tokens', format: (value) => formatFixed(value, 1) },
  { field: 'wellFormed', label: 'Well-formed completions', format: formatShare },
];

export function resultsTable({ policies }: QuickstartReport): Html {
  const present = policyNames.filter((name) => policies[name] !== undefined);
  const absent = policyNames.filter((name) => policies[name] === undefined).map(policyLabel);
  const missing =
    absent.length > 0
      ? html`<p class="absent">${formatList(absent)} ${absent.length === 1 ? 'was' : 'were'} not part of this run.</p>`
      : undefined;
  if (present.length === 0) return html`${missing}`;
  const shown = rows.filter(({ field }) => present.some((name) => policies[name]![field] !== undefined));
  return html`${policyTable(
    'Figures of every policy',
    present,
    shown.map(({ field, ...row }) => ({ ...row, estimate: (name) => policies[name]?.[field] })),
  )}
<p class="note">Small numbers are 95 % intervals.${
    policies.bestOfN === undefined ? undefined : ' The KL of best-of-n is its bound log n − (n − 1)/n.'
  }</p>
${missing}`;
}
