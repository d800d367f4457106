/** `npm run check`: everything that must hold besides the tests. Runs all steps, prints what failed, exits 1 if any did. */
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import './files.mjs';

const generators = (await readdir('scripts')).filter((name) => /^generate.*\.mjs$/.test(name)).sort();
const steps = [
  { name: 'types', args: ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json'] },
  {
    name: 'lint and format',
    args: ['node_modules/@biomejs/biome/bin/biome', 'ci', '--colors=off', '--diagnostic-level=warn', '.'],
  },
  { name: 'import arrows', args: ['scripts/check-imports.mjs'] },
  { name: 'links in pages', args: ['scripts/check-links.mjs'] },
  // A generator called with --check writes nothing and exits 1 when its file differs from what it would write.
  ...generators.map((name) => ({ name: `up to date: ${name}`, args: [`scripts/${name}`, '--check'] })),
];

/** Runs node with `args`; resolves to the exit code and all output, in order. */
function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

let failed = 0;
for (const { name, args } of steps) {
  const started = performance.now();
  const { code, output } = await run(args);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (code !== 0) {
    failed++;
    console.log(`${output.trimEnd()}\n       to see this step alone: node ${args.join(' ')}\n`);
  }
}
console.log(failed === 0 ? 'check: all steps hold' : `check: ${failed} of ${steps.length} steps failed`);
process.exitCode = failed === 0 ? 0 : 1;
