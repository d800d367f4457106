/** `heed bench`: speeds as ratios within one run, so that figures of different machines can be compared. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { benchEngine } from '../bench/engine.ts';
import { defineCommand } from '../command.ts';
import { formatBytes } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  suite: field(z.enum(['engine']).default('engine')).describe('what to measure'),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
  repeats: field(z.int().min(1).default(9)).describe(
    'timed runs of each training step; the median is reported',
  ),
});

export const command = defineCommand({
  config,
  positionals: ['suite'],
  examples: ['bench engine', 'bench engine --json'],
  async run({ threads, repeats }, { output, progress, clock }) {
    const engine = await createEngine(threads === undefined ? {} : { threads });
    const stage = progress.start('bench', { unit: 'measurements' });
    let done = 0;
    const result = await benchEngine({
      engine,
      clock,
      repeats,
      peakMemory: () => process.resourceUsage().maxRSS * 1024,
      onStage: (name) => {
        stage.update(done++);
        progress.note(name);
      },
    });
    stage.end();
    engine.dispose();
    output.record({ ...result });
    output.text(`matrix product 1024³: ${result.matmulGflops.toFixed(1)} GFLOP/s`);
    output.text('');
    output.text(
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
    );
    output.text('');
    output.text(
      formatTable([
        ['decode', 'params', 'batch', 'tokens/s', 'outside engine'],
        ...result.decode.map((row) => [
          'sampling at temperature 1',
          String(row.params),
          String(row.batch),
          row.tokensPerSecond.toFixed(0),
          `${(100 * row.outsideEngineShare).toFixed(1)} %`,
        ]),
      ]),
    );
    output.text('');
    output.text(`peak memory of the process: ${formatBytes(result.peakMemoryBytes)}`);
    return 0;
  },
});
