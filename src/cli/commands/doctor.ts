/** `heed doctor`: can this machine run heed, and how fast? Its text is meant to be pasted into a bug report. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, freemem, platform, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { field } from '../../core/config.ts';
import type { Engine } from '../../engine/engine.ts';
import { defineCommand } from '../command.ts';
import { formatBytes, formatNumber } from '../format.ts';

/** One line of the report. */
interface Check {
  readonly name: string;
  /** `failed` only for what heed cannot do without. */
  readonly status: 'ok' | 'failed' | 'info';
  readonly text: string;
  /** The same as numbers, for `--json`. */
  readonly facts: Readonly<Record<string, unknown>>;
}

const config = z.strictObject({
  threads: field(z.int().min(1).optional()).describe(
    'threads of the matrix product; the number of cores when left out',
  ),
  size: field(z.int().min(64).max(8192).default(1024)).describe(
    'side of the square matrices that are multiplied',
  ),
});

export const command = defineCommand({
  config,
  examples: ['doctor', 'doctor --json'],
  async run({ threads, size }, { output, version, clock }) {
    const checks = [...describeMachine(version)];
    checks.push(describePackage('onnxruntime-node', 'failed'), describePackage('koffi', 'info'));
    checks.push(...(await checkEngine({ threads, size, clock })));
    const failed = checks.filter(({ status }) => status === 'failed');
    const marks = { ok: output.colors.green('✓'), failed: output.colors.red('✗'), info: ' ' };
    const width = Math.max(...checks.map(({ name }) => name.length));
    for (const { name, status, text } of checks)
      output.text(`${marks[status]} ${name.padEnd(width)}  ${text}`);
    output.text('');
    output.text(
      failed.length === 0
        ? 'Everything that heed needs works.'
        : `heed cannot run: ${failed.map(({ name }) => name).join(', ')}.`,
    );
    output.record({
      event: 'doctor',
      ok: failed.length === 0,
      checks: Object.fromEntries(checks.map(({ name, status, facts }) => [name, { status, ...facts }])),
    });
    return failed.length === 0 ? 0 : 1;
  },
});

function* describeMachine(version: string): Iterable<Check> {
  const node = process.versions.node;
  const recent = Number(node.split('.')[0]) >= 20;
  yield { name: 'heed', status: 'info', text: version, facts: { version } };
  yield {
    name: 'node',
    status: recent ? 'ok' : 'failed',
    text: recent ? node : `${node}: heed needs Node 20 or later`,
    facts: { version: node },
  };
  yield {
    name: 'platform',
    status: 'info',
    text: `${platform()} ${release()}, ${arch()}`,
    facts: { platform: platform(), release: release(), arch: arch() },
  };
  const model = cpus()[0]?.model.trim() ?? 'unknown';
  const cores = availableParallelism();
  yield { name: 'processor', status: 'info', text: `${model}, ${cores} cores`, facts: { model, cores } };
  const memory = { totalBytes: totalmem(), freeBytes: freemem() };
  yield {
    name: 'memory',
    status: 'info',
    text: `${formatBytes(memory.totalBytes)}, ${formatBytes(memory.freeBytes)} free`,
    facts: memory,
  };
}

/** Whether a dependency is installed and which version. Its code is not run. Without koffi there is a slower engine. */
function describePackage(name: string, missing: 'failed' | 'info'): Check {
  try {
    const version = packageVersion(name);
    return { name, status: 'ok', text: version, facts: { version } };
  } catch (error) {
    const message = `not installed (${(error instanceof Error ? error.message : String(error)).split('\n')[0]})`;
    return { name, status: missing, text: message, facts: { error: message } };
  }
}

/** From the package.json above a package's entry: `exports` may hide the file from `require`. */
function packageVersion(name: string): string {
  const entry = createRequire(import.meta.url).resolve(name);
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
    if (manifest.name === name && manifest.version !== undefined) return manifest.version;
  }
  throw new Error(`no package.json above ${entry}`);
}

interface EngineCheck {
  readonly threads: number | undefined;
  readonly size: number;
  readonly clock: () => number;
}

async function checkEngine({ threads, size, clock }: EngineCheck): Promise<Check[]> {
  let engine: Engine | undefined;
  try {
    const { createEngine } = await import('../../engine/create-engine.ts');
    let fallback = '';
    const log = (message: string): void => {
      fallback = message;
    };
    engine = await createEngine(threads === undefined ? { log } : { threads, log });
    const loaded: Check = {
      name: 'engine',
      status: 'ok',
      text: fallback === '' ? engine.name : `${engine.name}: ${fallback}`,
      facts: { engine: engine.name, ...(fallback === '' ? {} : { fallback }) },
    };
    const gflops = await measureMatmul(engine, size, clock);
    return [
      loaded,
      {
        name: 'matmul',
        status: 'ok',
        text: `${formatNumber(gflops, 3)} GFLOP/s (${size} × ${size}, float32)`,
        facts: { gflops, size },
      },
    ];
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return [{ name: 'engine', status: 'failed', text: message, facts: { error: message } }];
  } finally {
    engine?.dispose();
  }
}

/** Best of runs for about half a second, after one to warm up: 2 size³ floating-point operations each, in 10⁹ a second. */
async function measureMatmul(engine: Engine, size: number, clock: () => number): Promise<number> {
  const { trace } = await import('../../graph/program.ts');
  const { matmul } = await import('../../graph/ops/matmul.ts');
  const type = { dtype: 'float32', shape: [size, size] } as const;
  const program = trace({ a: type, b: type }, ({ a, b }) => ({ product: matmul(a, b) }));
  const executable = await engine.compile(program, { name: 'doctor matmul' });
  const operand = (): Float32Array =>
    Float32Array.from({ length: size * size }, (_, at) => ((at * 7) % 13) / 13 - 0.5);
  const binding = executable.bind({ a: operand(), b: operand() });
  try {
    await binding.run();
    let best = Number.POSITIVE_INFINITY;
    const until = clock() + 500;
    for (let run = 0; run < 3 || (run < 50 && clock() < until); run++) {
      const start = clock();
      await binding.run();
      best = Math.min(best, clock() - start);
    }
    return (2 * size ** 3) / (best * 1e6);
  } finally {
    binding.dispose();
    executable.dispose();
  }
}
