import { attributeBars } from './attribute-bars.ts';
import { checkReport } from './check-report.ts';
import { type Html, html, trusted } from './html.ts';
import { pageStyle } from './page-style.ts';
import type { QuickstartReport } from './quickstart-report.ts';
import { resultsTable } from './results-table.ts';
import { rewardCurves } from './reward-curves.ts';
import { reproduceSection, rewardModelSection, samplesSection, stagesSection } from './sections.ts';
import { summarize } from './summary.ts';
import { trainingCurves } from './training-curves.ts';

/**
 * The report as one HTML page: no other files, no scripts, no requests (its content policy forbids them). Equal input
 * gives equal text.
 *
 * @throws NumericError when a number is not finite, DataError when an interval's ends are swapped; both name the field
 */
export function renderReport(report: QuickstartReport): string {
  checkReport(report);
  const { title, heedVersion, size, seed, verdicts } = report;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${trusted(pageStyle)}</style>
</head>
<body>
<main>
<header>
<h1>${title}</h1>
<p class="about">heed ${heedVersion} · size ${size} · seed ${String(seed)}</p>
</header>
<div class="lead">
${summarize(report).map((sentence) => html`<p>${sentence}</p>\n`)}</div>
${
  verdicts.length > 0
    ? html`<ul class="verdicts">
${verdicts.map((verdict) => html`<li>${verdict}</li>\n`)}</ul>`
    : undefined
}
${section('Results', 'Every policy answers the same held-out requests. Gold is exact: it knows what is true in the generated world.', resultsTable(report))}
${section('Reward against KL', 'Optimizing a learned reward moves a policy away from SFT. While both curves rise, the learned reward is worth following; where gold falls as the learned reward still rises, it is being exploited.', rewardCurves(report))}
${section('Attributes', 'What the gold reward is made of.', attributeBars(report))}
${section('Samples', 'The same requests, answered by every policy, with gold reward and gold cost.', samplesSection(report))}
${section('Reward model', 'Labels are noisy, so even a perfect model would not agree with all of them.', rewardModelSection(report))}
${section('Training', 'What the stages recorded as they ran.', trainingCurves(report))}
${section('Time and memory', 'Wall clock and the highest memory of the process while the stage ran.', stagesSection(report))}
${section('Run it again', 'The same seed on the same kind of machine gives the same figures.', reproduceSection(report))}
</main>
</body>
</html>
`.markup;
}

function section(title: string, intro: string, body: Html): Html {
  const id = title.toLowerCase().replaceAll(' ', '-');
  return html`<section aria-labelledby="${id}">
<h2 id="${id}">${title}</h2>
<p>${intro}</p>
${body}
</section>`;
}
