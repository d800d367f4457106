/**
 * Draws gold and learned reward of PPO against its KL to the SFT policy, for quickstart runs with different KL coefficients.
 *
 *   npx heed quickstart --output runs/held
 *   npx heed quickstart --kl-coefficient 0 --iterations 60 --output runs/free
 *   node examples/over-optimization.mjs runs/held runs/free > over-optimization.svg
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { axisX, axisY, dot, gridY, lineY, plot } from '@observablehq/plot';
import { parseHTML } from 'linkedom';

/** Iterations that make one point of a curve. */
const perPoint = 4;

const readLines = (path) =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function curve(folder) {
  const { klCoefficient } = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8'));
  const kl = new Map(
    readLines(join(folder, 'ppo', 'metrics.jsonl')).map((record) => [
      record.step - 1,
      record['objective/kl'],
    ]),
  );
  const records = readLines(join(folder, 'ppo-gold.jsonl')).filter(
    ({ iteration }) => kl.get(iteration) !== undefined,
  );
  const points = [];
  for (let start = 0; start < records.length; start += perPoint) {
    const part = records.slice(start, start + perPoint);
    points.push({
      run: `KL coefficient ${klCoefficient}`,
      iteration: part.at(-1).iteration + 1,
      // A square root opens the first nats up; KL is measured, and may come out just below 0.
      distance: Math.sqrt(Math.max(0, mean(part.map(({ iteration }) => kl.get(iteration))))),
      learned: mean(part.map(({ learned }) => learned)),
      gold: mean(part.map(({ gold }) => gold)),
    });
  }
  return points;
}

const runs = process.argv.slice(2).map(curve);
if (runs.length === 0) {
  console.error('over-optimization: expected folders of quickstart runs, received none.');
  process.exit(2);
}
for (const { run, iteration, distance, learned, gold } of runs.flat()) {
  console.error(
    [
      run,
      `iteration ${iteration}`,
      `${(distance ** 2).toFixed(2)} nats`,
      `learned ${learned.toFixed(3)}`,
      `gold ${gold.toFixed(3)}`,
    ].join(', '),
  );
}

const { document } = parseHTML('<html></html>');
const dashes = ['none', '5 3', '2 2', '8 2'];
const panel = (what, title, left) =>
  plot({
    document,
    width: 340,
    height: 260,
    marginLeft: 40,
    marginTop: 40,
    x: { nice: true },
    y: { nice: true },
    title,
    marks: [
      gridY(),
      axisX({ label: 'square root of KL to SFT, nats', labelAnchor: 'center', labelArrow: 'none', ticks: 6 }),
      axisY({ label: title, labelArrow: 'none', ticks: 5 }),
      ...runs.flatMap((points, index) => [
        lineY(points, {
          x: 'distance',
          y: what,
          stroke: left,
          strokeWidth: 1.75,
          strokeDasharray: dashes[index % 4],
        }),
        dot(points, { x: 'distance', y: what, r: 2.5, fill: left }),
      ]),
    ],
  });
const part = (svg, x) =>
  `<g transform="translate(${x},0)">${svg.innerHTML.replace(/<style>.*?<\/style>/s, '')}</g>`;
const svgOf = (figure) => (figure.tagName.toLowerCase() === 'svg' ? figure : figure.querySelector('svg'));
const key = runs
  .map(
    ([{ run }], index) =>
      `<g transform="translate(${60 + index * 190},12)"><line x2="34" stroke="#444" stroke-width="1.75" stroke-dasharray="${dashes[index % 4]}"/><text x="40" dy="0.32em">${run}</text></g>`,
  )
  .join('');
console.log(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 285" width="700" height="285" font-family="system-ui, sans-serif" font-size="11" fill="#222"><rect width="700" height="285" fill="#fff"/>${key}<g transform="translate(0,20)">${part(svgOf(panel('learned', 'learned reward', '#b3541e')), 0)}${part(svgOf(panel('gold', 'gold utility', '#1b6e53')), 350)}</g></svg>`,
);
