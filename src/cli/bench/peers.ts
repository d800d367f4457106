/** Peers of the generation benchmark: commands that read a model folder and print their tokens per second. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../../core/errors.ts';
import { saveModel } from '../../models/index.ts';
import type { PeerFigures, PeerTask } from './generate.ts';

/**
 * Writes the model to a temporary folder and runs each command on it, one after another, with the arguments
 * `--model <folder> --batches 1,8 --prompt 16 --new-tokens 64 --repeats 9 --threads 2` added. A command prints one line of
 * JSON last, `{"name": "…", "tokensPerSecond": {"1": 80.5, "8": 301.2}}`.
 *
 * @param commands words separated by spaces; no shell reads them
 * @throws ConfigError when one cannot be run or prints something else
 */
export async function runPeers(
  commands: readonly string[],
  task: PeerTask,
  threads: number,
): Promise<readonly PeerFigures[]> {
  if (commands.length === 0) return [];
  const place = mkdtempSync(join(tmpdir(), 'heed-bench-'));
  try {
    const folder = join(place, 'model');
    saveModel(folder, { config: task.config, parameters: task.parameters });
    const figures: PeerFigures[] = [];
    for (const command of commands) {
      const words = [
        ...command.split(' ').filter((word) => word !== ''),
        ...['--model', folder, '--batches', task.batches.join(','), '--prompt', String(task.promptTokens)],
        ...['--new-tokens', String(task.newTokens), '--repeats', String(task.repeats)],
        ...['--threads', String(threads)],
      ];
      figures.push(readFigures(await outputOf(words, command), command));
    }
    return figures;
  } finally {
    rmSync(place, { recursive: true });
  }
}

function outputOf([program, ...words]: string[], command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program!, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    child.once('error', (cause) => reject(peerError(command, cause.message)));
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(peerError(command, `exit code ${code}\n${errors.trim()}`)),
    );
  });
}

function readFigures(output: string, command: string): PeerFigures {
  const last = output.trim().split('\n').at(-1) ?? '';
  try {
    const { name, tokensPerSecond } = JSON.parse(last) as Partial<PeerFigures>;
    const rates = Object.values(tokensPerSecond ?? {});
    if (typeof name === 'string' && rates.length > 0 && rates.every((rate) => rate > 0))
      return { name, tokensPerSecond: tokensPerSecond! };
  } catch {
    // Reported below.
  }
  throw peerError(command, last.slice(0, 200) || 'nothing');
}

const peerError = (command: string, received: string): ConfigError =>
  new ConfigError({
    where: `--peer "${command}"`,
    expected: 'a command whose last line is {"name": …, "tokensPerSecond": {"<batch>": …}}',
    received,
    fix: 'Run it by hand to see what is missing; bench/peers/README.md says how to install each peer',
  });
