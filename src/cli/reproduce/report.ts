/** The report of an experiment as Markdown: the verdict, what decided it, every figure of every seed. */
import type { Experiment } from './experiment.ts';
import type { Outcome } from './run-experiment.ts';

const fixed = (value: number): string => value.toFixed(3);

export function renderReport(experiment: Experiment, { verdict, tests, seeds, size, runs }: Outcome): string {
  const names = [...new Set(runs.flatMap(({ figures }) => Object.keys(figures)))];
  return `# ${experiment.title}: ${verdict}

${experiment.claim}

*${experiment.source}.* Size \`${size}\`, seeds ${seeds.join(', ')}.

| what is claimed | mean over seeds | 95 % interval | by seed | verdict |
| --- | --- | --- | --- | --- |
${tests
  .map(
    ({ says, interval, perSeed, verdict: own }) =>
      `| ${says} | ${fixed(interval.mean)} | ${fixed(interval.low)} to ${fixed(interval.high)} | ${perSeed.map(fixed).join(', ')} | ${own} |`,
  )
  .join('\n')}

A test is *shown* when the whole interval of its figure (Student’s t over seeds) is above 0, *opposite* when all of it is below. The claim is shown when all its tests are.

![${experiment.title}](curves.svg)

| figure | ${seeds.map((seed) => `seed ${seed}`).join(' | ')} |
| --- |${' --- |'.repeat(seeds.length)}
${names
  .map(
    (name) =>
      `| \`${name}\` | ${runs.map(({ figures }) => fixed(figures[name] ?? Number.NaN)).join(' | ')} |`,
  )
  .join('\n')}

Run it again: \`heed reproduce ${experiment.id} --size ${size} --seeds ${seeds.join(',')}\`
`;
}
