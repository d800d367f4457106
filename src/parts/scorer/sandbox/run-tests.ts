/** Runs untrusted JavaScript against tests in a process of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { EngineError } from '../../../core/errors.ts';
import { guest, kit } from './guest.ts';

export interface SandboxLimits {
  /**
   * Seconds of CPU that all tests of a program may take, rounded up; by the clock three times as many and five more, so that
   * a busy machine does not fail what is right. Where the kernel keeps no limit of CPU time (Windows), the clock alone counts.
   */
  readonly seconds: number;
  /** MB of JavaScript heap; on Linux the buffers outside it are held to about as much again. */
  readonly megabytes: number;
}

export interface SandboxJob {
  /** Code under test: a script, not a module. */
  readonly program: string;
  /** Bodies of async functions of `assert`; each runs in a fresh context after the program. */
  readonly tests: readonly string[];
}

/** How a test ended. A test that was not reached, because an earlier one stopped the process, ended as that one. */
export type TestResult =
  | { readonly outcome: 'passed' }
  | { readonly outcome: 'failed'; readonly message: string }
  /** `time`: it took too long; `crashed`: the process ended, most often for memory. */
  | { readonly outcome: 'time' | 'crashed' }
  /** The test itself is no JavaScript. */
  | { readonly outcome: 'broken'; readonly message: string };

/** Milliseconds that the process may take to start, on a busy machine. */
const startLimit = 60_000;

/** Seconds by the clock from when the process is ready. */
const wallSeconds = ({ seconds }: SandboxLimits): number => 3 * seconds + 5;

/** What Node itself has of private memory before any code runs, kB, generously. */
const nodeDataSize = 192 * 1024;

/**
 * Runs tests against a program.
 *
 * Layers, from the inside: a context without any object of Node, whose built-ins cannot be changed and in which text is never
 * compiled to code; a process without environment, whose globals of Node are gone, under Node's permission model with
 * nothing allowed (no file, process, worker or add-on); limits of heap and time, and on Linux and macOS of CPU time, file
 * size and (Linux) private memory by the kernel; on Linux, where the kernel lets users have namespaces, no network.
 * Neither `vm` nor the permission model is made for code that attacks: see docs/guide/rewards.md for what remains.
 *
 * @throws EngineError when the sandbox itself does not start: never a verdict about the program
 */
export async function runTests(job: SandboxJob, limits: SandboxLimits): Promise<TestResult[]> {
  const nonce = randomUUID();
  const results = new Array<TestResult | undefined>(job.tests.length).fill(undefined);
  const child = spawnGuest(limits);
  let [ready, timedOut, rest, errors] = [false, false, '', ''];
  let timer = setTimeout(() => child.kill('SIGKILL'), startLimit);
  const startClock = (): void => {
    ready = true;
    clearTimeout(timer);
    timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, wallSeconds(limits) * 1000);
  };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith(nonce)) continue;
      const text = line.slice(nonce.length);
      if (text === 'ready') startClock();
      else readVerdict(text, results);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors = (errors + chunk).slice(-2000);
  });
  // A process that ends before it has read everything breaks the pipe; how it ended is seen below.
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify({ nonce, kit, ...job }));
  const { code, signal, failure } = await ended(child);
  clearTimeout(timer);
  if (!ready) {
    throw new EngineError({
      where: 'code sandbox',
      expected: 'a process of Node to start',
      received: failure?.message ?? `exit ${code ?? signal}${errors === '' ? '' : `: ${lastLine(errors)}`}`,
      fix: 'Check that heed may start processes, and that the memory limit is not below what Node needs',
    });
  }
  // SIGXCPU comes from the kernel's limit of CPU time.
  const outcome = timedOut || signal === 'SIGXCPU' ? 'time' : 'crashed';
  return results.map((result) => result ?? { outcome });
}

function readVerdict(text: string, results: (TestResult | undefined)[]): void {
  const { index, passed, message, broken } = JSON.parse(text) as {
    index: number;
    passed?: boolean;
    message: string;
    broken?: string;
  };
  if (results[index] !== undefined) return;
  if (broken !== undefined) results[index] = { outcome: 'broken', message: broken };
  else results[index] = passed === true ? { outcome: 'passed' } : { outcome: 'failed', message };
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

type Guest = ReturnType<typeof spawnGuest>;

function ended(child: Guest) {
  return new Promise<{ code: number | null; signal: string | null; failure?: Error }>((resolve) => {
    child.on('error', (failure) => resolve({ code: null, signal: null, failure }));
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
}

/** Starts a process with every layer but the context. */
export function spawnGuest({ seconds, megabytes }: SandboxLimits, program = guest) {
  const node = [
    process.execPath,
    permissionFlag,
    '--disallow-code-generation-from-strings',
    '--no-addons',
    '--no-warnings',
    `--max-old-space-size=${megabytes}`,
    '-e',
    program,
  ];
  // The shell sets limits that the kernel keeps, then becomes Node. What a system does not have is left out.
  const dataSize = nodeDataSize + 2 * megabytes * 1024;
  // Of the process: a second more, in which Node starts. The hard limit is for one that catches the signal.
  const cpu = Math.ceil(seconds) + 1;
  const limits = `ulimit -c 0; ulimit -f 0; ulimit -S -t ${cpu}; ulimit -H -t ${cpu + 2}; [ "$(uname)" = Linux ] && ulimit -d ${dataSize}; exec "$@"`;
  const words =
    process.platform === 'win32'
      ? node
      : [...(hasNamespaces() ? ['unshare', '-r', '-n'] : []), '/bin/sh', '-c', limits, 'sh', ...node];
  return spawn(words[0]!, words.slice(1), {
    cwd: tmpdir(),
    env: process.platform === 'win32' ? { SystemRoot: process.env['SystemRoot'] } : { PATH: '/usr/bin:/bin' },
    stdio: ['pipe', 'pipe', 'pipe'],
    windowsHide: true,
  });
}

/** Node 20 knows the permission model as an experiment. */
const permissionFlag = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';

let namespaces: boolean | undefined;

/** Whether processes can be started without network here. */
export function hasNamespaces(): boolean {
  namespaces ??=
    process.platform === 'linux' &&
    existsSync('/usr/bin/unshare') &&
    spawnSync('unshare', ['-r', '-n', 'true']).status === 0;
  return namespaces;
}

/** Runs several jobs, as many at a time as the machine has cores. */
export async function runAllTests(
  jobs: readonly SandboxJob[],
  limits: SandboxLimits,
): Promise<TestResult[][]> {
  const results = new Array<TestResult[]>(jobs.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < jobs.length; index = next++)
      results[index] = await runTests(jobs[index]!, limits);
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), jobs.length) }, work));
  return results;
}
