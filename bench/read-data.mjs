/**
 * How fast rows are read, and how much memory that takes: each file in a process of its own, three times; the fastest counts.
 *
 *   npm run build && node bench/read-data.mjs rows.jsonl rows.jsonl.gz rows.parquet
 */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';

const child = `
import { readRows } from ${JSON.stringify(new URL('../dist/data/index.js', import.meta.url).href)};
const before = process.resourceUsage().maxRSS;
const started = performance.now();
let rows = 0;
for await (const row of readRows(process.argv[1])) rows++;
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ rows, seconds, before, peak: process.resourceUsage().maxRSS }));
`;

const print = (line) => process.stdout.write(`${line}\n`);

const files = process.argv.slice(2);
print(
  'file                                rows     rows/s   MB of file/s   peak MiB   above an idle process',
);
for (const file of files) {
  const runs = Array.from({ length: 3 }, () =>
    JSON.parse(
      execFileSync(process.execPath, ['--input-type=module', '-e', child, file], { encoding: 'utf8' }),
    ),
  );
  const { rows, seconds, before, peak } = runs.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const cells = [
    file.slice(-32).padEnd(32),
    String(rows).padStart(8),
    (rows / seconds).toFixed(0).padStart(10),
    (statSync(file).size / 1e6 / seconds).toFixed(1).padStart(14),
    (peak / 1024).toFixed(0).padStart(10),
    ((peak - before) / 1024).toFixed(0).padStart(10),
  ];
  print(cells.join(' '));
}
