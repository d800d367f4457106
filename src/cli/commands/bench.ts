/** `heed bench`: speeds as ratios within one run, so that figures of different machines can be compared. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { benchEngine, type EngineBench } from '../bench/engine.ts';
import { benchGenerate, type GenerateBench } from '../bench/generate.ts';
import { benchModels, benchSizes } from '../bench/models.ts';
import { runPeers } from '../bench/peers.ts';
import { benchServe, type ServeBench } from '../bench/serve.ts';
import { runClientsOnThread } from '../bench/serve-client-thread.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  suite: field(z.enum(['engine', 'generate', 'serve']).default('engine')).describe('what to measure'),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
  repeats: field(z.int().min(1).default(9)).describe(
    'timed runs of each training step or generation; the median is reported',
  ),
  sizes: field(z.array(z.enum(benchSizes)).min(1).optional(), { placeholder: 'names' }).describe(
    'suites generate and serve: sizes of the models (1M | 7M | 135M); default 1M,7M for generate, 7M for serve',
  ),
  batches: field(z.array(z.int().positive()).min(1).default([1, 8, 32, 128])).describe(
    'suite generate: rows decoded together',
  ),
  peer: field(z.array(z.string()).default([]), { placeholder: 'command' }).describe(
    'suite generate: a command that measures the same on another engine (bench/peers/README.md); may be given several times',
  ),
  clients: field(z.int().positive().default(64)).describe('suite serve: clients at a time'),
  seconds: field(z.number().positive().default(300)).describe('suite serve: how long they ask'),
});

export const command = defineCommand({
  config,
  positionals: ['suite'],
  examples: [
    'bench engine',
    'bench engine --json',
    'bench generate --sizes 7M --peer "node bench/peers/llama-cpp/generate.mjs"',
    'bench serve --seconds 30',
  ],
  async run(
    { suite, threads, repeats, sizes, batches, peer, clients, seconds },
    { output, progress, clock, now, memory },
  ) {
    const engine = await createEngine(threads === undefined ? {} : { threads });
    const stage = progress.start('bench', { unit: 'measurements' });
    let done = 0;
    const common = {
      engine,
      clock,
      repeats,
      onStage: (name: string) => {
        stage.update(done++);
        progress.note(name);
      },
    };
    const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;
    try {
      switch (suite) {
        case 'engine': {
          const result = await benchEngine({ ...common, peakMemory });
          stage.end();
          output.record({ ...result });
          output.text(engineText(result));
          return 0;
        }
        case 'generate': {
          const result = await benchGenerate({
            ...{ ...common, sizes: sizes ?? ['1M', '7M'], batches },
            runPeers: (task) => runPeers(peer, task, threads ?? availableParallelism()),
          });
          stage.end();
          output.record({ ...result });
          output.text(generateText(result));
          return 0;
        }
        case 'serve': {
          const config = benchModels[sizes?.[0] ?? '7M'];
          const load = { config, clients, seconds, slots: 32, now, memory, runClients: runClientsOnThread };
          const result = await benchServe({ ...common, ...load });
          stage.end();
          output.record({ ...result });
          output.text(serveText(result));
          return result.wrong.length === 0 && result.left.rows + result.left.waiting === 0 ? 0 : 1;
        }
      }
    } finally {
      engine.dispose();
    }
  },
});

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function engineText(result: EngineBench): string {
  return [
    `matrix product 1024³: ${result.matmulGflops.toFixed(1)} GFLOP/s`,
    formatTable([
      ['training step', 'params', 'batch', 'length', 'ms', 'GFLOP/s', 'ratio'],
      ...result.train.map((row) => [
        'forward + backward',
        String(row.params),
        String(row.batch),
        String(row.length),
        row.ms.toFixed(1),
        row.gflops.toFixed(1),
        row.ratio.toFixed(3),
      ]),
    ]),
    formatTable([
      ['decode', 'params', 'batch', 'tokens/s', 'outside engine'],
      ...result.decode.map((row) => [
        'sampling at temperature 1',
        String(row.params),
        String(row.batch),
        row.tokensPerSecond.toFixed(0),
        percent(row.outsideEngineShare),
      ]),
    ]),
    `peak memory of the process: ${formatBytes(result.peakMemoryBytes)}`,
  ].join('\n\n');
}

function generateText({ limits, cases }: GenerateBench): string {
  const peers = [...new Set(cases.flatMap(({ peer }) => Object.keys(peer)))];
  return [
    `limits: ${limits.gflops.toFixed(0)} GFLOP/s in products of 1024³, ${limits.gigabytesPerSecond.toFixed(1)} GB/s read`,
    formatTable([
      [
        ...['params', 'batch', 'tokens/s', 'ms to first token', 'outside engine'],
        ...['of GFLOP/s', 'of GB/s', ...peers],
      ],
      ...cases.map((row) => [
        String(row.params),
        String(row.batch),
        row.tokensPerSecond.toFixed(0),
        row.msToFirstToken.toFixed(1),
        percent(row.outsideEngineShare),
        percent(row.gflops / limits.gflops),
        percent(row.gigabytesPerSecond / limits.gigabytesPerSecond),
        ...peers.map((name) => row.peer[name]?.toFixed(0) ?? ''),
      ]),
    ]),
  ].join('\n\n');
}

function serveText(result: ServeBench): string {
  const { requests, statuses, latencyMs, memory, left, wrong } = result;
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([key, count]) => `${key} ${count}`)
      .join(', ');
  return [
    `${result.clients} clients for ${result.seconds.toFixed(0)} s, ${result.params} parameters`,
    `requests: ${list(requests)}`,
    `answers: ${list(statuses)}`,
    `not as they should be: ${wrong.length === 0 ? 'none' : `\n  ${wrong.join('\n  ')}`}`,
    `tokens/s: ${result.tokensPerSecond.toFixed(0)}; the generator alone ${result.offlineTokensPerSecond.toFixed(0)}; median ratio ${result.ratio.toFixed(3)} (${result.ratios.map((ratio) => ratio.toFixed(2)).join(', ')})`,
    `ms until a whole answer: median ${latencyMs.p50.toFixed(0)}, 99 % ${latencyMs.p99.toFixed(0)}`,
    `resident memory: ${formatBytes(memory.early)} in the second quarter, ${formatBytes(memory.late)} in the last`,
    `left over: ${left.rows} rows, ${left.waiting} waiting, ${left.requests} requests`,
  ].join('\n');
}
