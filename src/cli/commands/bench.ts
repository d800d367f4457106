/** `heed bench`: speeds as ratios within one run, so that figures of different machines can be compared. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { benchEngine, type EngineBench } from '../bench/engine.ts';
import { benchGenerate, type GenerateCase } from '../bench/generate.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  suite: field(z.enum(['engine', 'generate']).default('engine')).describe('what to measure'),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
  repeats: field(z.int().min(1).default(9)).describe(
    'timed runs of each training step or generation; the median is reported',
  ),
});

export const command = defineCommand({
  config,
  positionals: ['suite'],
  examples: ['bench engine', 'bench engine --json', 'bench generate'],
  async run({ suite, threads, repeats }, { output, progress, clock }) {
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
          const { cases } = await benchGenerate(common);
          stage.end();
          output.record({ cases });
          output.text(generateText(cases));
          return 0;
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

function generateText(cases: readonly GenerateCase[]): string {
  return formatTable([
    ['params', 'batch', 'tokens/s', 'ms to first token', 'outside engine'],
    ...cases.map((row) => [
      String(row.params),
      String(row.batch),
      row.tokensPerSecond.toFixed(0),
      row.msToFirstToken.toFixed(1),
      percent(row.outsideEngineShare),
    ]),
  ]);
}
