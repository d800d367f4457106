/** The built program as a process: what a shell, a pipe and Ctrl-C get. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const repository = fileURLToPath(new URL('../..', import.meta.url));
// Inside the repository, where the packages that it imports are found.
const build = join(repository, 'node_modules', '.cache', `heed-cli-test-${process.pid}`);
const main = join(build, 'dist', 'cli', 'main.js');
const script = join(build, 'toy.js');

const tsc = (...argv: string[]) =>
  spawnSync(process.execPath, [join(repository, 'node_modules', 'typescript', 'bin', 'tsc'), ...argv], {
    encoding: 'utf8',
    cwd: build,
  });

beforeAll(() => {
  mkdirSync(build, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as object;
  writeFileSync(join(build, 'package.json'), JSON.stringify({ ...manifest, version: '9.8.7' }));
  tsc('-p', join(repository, 'tsconfig.build.json'), '--outDir', join(build, 'dist'));
  writeFileSync(
    script,
    `import { z } from 'zod';
import { runProgram } from './dist/cli/run-program.js';
import { processHost } from './dist/cli/host.js';
// Works for 10 s; when asked to stop it needs 200 ms to save.
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const command = {
  config: z.strictObject({}),
  async run(_, { interruptible, output, progress }) {
    const signal = interruptible();
    const stage = progress.start('work', { total: 200 });
    for (let step = 1; step <= 200 && !signal.aborted; step++) {
      await wait(50);
      stage.update(step);
    }
    if (!signal.aborted) return 0;
    await wait(200);
    output.text('saved');
    return 130;
  },
};
const record = { name: 'work', summary: '', group: 'Use', load: async () => command };
process.exitCode = await runProgram(['work'], [record], processHost('0'));
`,
  );
}, 120_000);

afterAll(() => rmSync(build, { recursive: true, force: true }));

const environment = { PATH: process.env.PATH, HOME: process.env.HOME };

function heed(...argv: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...argv], {
    encoding: 'utf8',
    env: environment,
  });
  return { status, stdout, stderr };
}

describe('heed', () => {
  it('--help and help list the commands on stdout', () => {
    const { status, stdout } = heed('--help');
    expect(status).toBe(0);
    expect(stdout).toContain('heed 9.8.7: align language models with human feedback');
    expect(stdout).toMatch(/^ {2}doctor +check that this machine can run heed/m);
    expect(heed('help').stdout).toBe(stdout);
  });

  it('loads no package for --help', () => {
    const { stderr } = spawnSync(process.execPath, [main, '--help'], {
      encoding: 'utf8',
      env: { ...environment, NODE_DEBUG: 'esm,module' },
    });
    expect(stderr).toContain('program-help.js');
    expect(stderr).not.toMatch(/node_modules\/(zod|yaml|commander|koffi|picocolors|onnxruntime-node)\//);
  });

  it('without a command prints the same on stderr and fails with 2', () => {
    const { status, stdout, stderr } = heed();
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toBe(heed('--help').stdout);
  });

  it('--version', () => {
    expect(heed('--version')).toEqual({ status: 0, stdout: '9.8.7\n', stderr: '' });
  });

  it.each([
    [['doctr'], 'Did you mean doctor?'],
    [['doctor', '--sise', '64'], 'Did you mean --size?'],
    [['doctor', '--size', 'large'], '--size: expected integer ≥ 64 and ≤ 8192, received "large"'],
    [['doctor', '--config', 'absent.yaml'], 'absent.yaml (no such file)'],
  ])('%j fails with 2 and one line', (argv, message) => {
    const { status, stdout, stderr } = heed(...argv);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });

  it('doctor --json measures a matrix product', () => {
    const { status, stdout, stderr } = heed('doctor', '--json', '--size', '128');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const report = JSON.parse(stdout) as {
      ok: boolean;
      checks: Record<string, { status: string; gflops?: number }>;
    };
    expect(report.ok).toBe(true);
    expect(report.checks.matmul?.gflops).toBeGreaterThan(0.1);
  });
});

it('the example in the README type-checks and prints what it says', () => {
  const [, example] = /```ts\n(.*?)```/s.exec(readFileSync(join(repository, 'README.md'), 'utf8'))!;
  writeFileSync(join(build, 'readme.ts'), example!);
  const configuration = { extends: join(repository, 'tsconfig.build.json'), include: ['readme.ts'] };
  const compilerOptions = {
    rootDir: '.',
    outDir: '.',
    types: ['node'],
    typeRoots: [join(repository, 'node_modules', '@types')],
  };
  writeFileSync(join(build, 'tsconfig.json'), JSON.stringify({ ...configuration, compilerOptions }));
  expect(tsc('-p', '.').stdout).toBe('');
  const { stdout, stderr } = spawnSync(process.execPath, [join(build, 'readme.js')], {
    encoding: 'utf8',
    env: environment,
  });
  expect(stderr).toBe('');
  const numbers = [...stdout.matchAll(/-?\d+\.\d+/g)].map(Number);
  // softplus(∓0.2) averaged; −β σ(∓0.2) / 2.
  const expected = [0.698139, -0.022508, -0.027492];
  expect(numbers).toHaveLength(3);
  for (const [at, value] of expected.entries()) expect(numbers[at]).toBeCloseTo(value, 5);
});

describe('Ctrl-C', () => {
  const work = async (signals: number) => {
    const child: ChildProcess = spawn(process.execPath, [script], { env: environment });
    let stdout = '';
    let stderr = '';
    let sent = 0;
    child.stdout!.on('data', (data) => {
      stdout += data;
    });
    child.stderr!.on('data', (data) => {
      stderr += data;
      // The first when the work has begun, the second when the first was heard.
      if (sent < signals && (sent === 0 || stderr.includes('stopping'))) {
        sent++;
        child.kill('SIGINT');
      }
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    return { code, stdout, stderr };
  };

  it('once: the command saves and the exit code is 130', async () => {
    const { code, stdout, stderr } = await work(1);
    expect({ code, stdout }).toEqual({ code: 130, stdout: 'saved\n' });
    expect(stderr).toContain('press Ctrl-C again');
    expect(stderr).toContain('"event":"stopped","stage":"work"');
  });

  it('twice: it ends at once with 130', async () => {
    const { code, stdout } = await work(2);
    expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
  });
});
