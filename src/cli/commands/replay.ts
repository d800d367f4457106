/** `heed replay`: takes the update that a watchdog saved again, and says whether the numbers are the same. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import * as registry from '../../methods/index.ts';
import { replay } from '../../parts/trainer/replay.ts';
import { machine, readReproducer } from '../../parts/trainer/reproducer.ts';
import { defineCommand } from '../command.ts';
import { findRecord } from '../find-record.ts';
import { formatNumber } from '../format.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  file: field(z.string(), { placeholder: 'file' }).describe(
    'reproducer-….safetensors of a run folder: weights, optimizer, batch and counters of one update',
  ),
  model: field(z.string().optional(), { placeholder: 'folder' }).describe(
    'the model the run began with, when it is no longer where the run found it',
  ),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: those of the run. Other numbers of threads may round differently',
  ),
});

export const command = defineCommand({
  config,
  positionals: ['file'],
  examples: ['replay runs/grpo-model/reproducer-policy-120.safetensors'],
  async run({ file, model, threads }, { output }) {
    const stored = readReproducer(file);
    const reproducer = { ...stored, config: { ...stored.config, ...(model !== undefined && { model }) } };
    const method = findRecord(Object.values(registry), stored.method, { where: 'methods', what: 'method' });
    const { createEngine } = await import('../../engine/create-engine.ts');
    const wanted = threads ?? (stored.config.threads as number | undefined);
    const engine = await createEngine(wanted === undefined ? {} : { threads: wanted });
    try {
      const comparisons = await replay(reproducer, method as never, engine);
      const equal = comparisons.every((comparison) => comparison.equal);
      const { alarm, where, learner, batch, learningRate } = stored;
      output.record({ event: 'replay', file, method: method.id, learner, where, alarm, equal, comparisons });
      output.text(`${method.id}, ${learner}, ${where}: ${alarm.text}`);
      output.text(
        `${formatNumber(batch.length)} examples after ${formatNumber(stored.optimizer.steps)} updates, learning rate ${formatNumber(learningRate)}\n`,
      );
      const show = (value: number | string): string =>
        typeof value === 'number' ? String(value) : value.slice(0, 16);
      output.text(
        formatTable([
          ['', 'recorded', 'replayed', 'equal'],
          ...comparisons.map(({ name, recorded, replayed, equal }) => [
            ...[name, show(recorded), show(replayed), equal ? 'yes' : 'NO'],
          ]),
        ]),
      );
      output.text('');
      const elsewhere =
        stored.machine === machine ? '' : `; recorded on ${stored.machine}, this is ${machine}`;
      output.text(
        equal ? output.colors.green('byte-equal') : output.colors.red(`not byte-equal${elsewhere}`),
      );
      return equal ? 0 : 1;
    } finally {
      engine.dispose();
    }
  },
});
