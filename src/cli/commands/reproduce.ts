/** `heed reproduce`: experiments that stand for published claims, on the world, over several seeds, with a verdict. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { defineCommand } from '../command.ts';
import { findRecord } from '../find-record.ts';
import { observeRun } from '../observe-run.ts';
import { formatTable, type Output } from '../output.ts';
import { sizeNames } from '../quickstart/sizes.ts';
import type { Experiment } from '../reproduce/experiment.ts';
import { experiments } from '../reproduce/index.ts';
import { type Outcome, runExperiment } from '../reproduce/run-experiment.ts';

const config = z.strictObject({
  id: field(z.string().optional(), { placeholder: 'experiment' }).describe(
    'the experiment to run; all are listed when left out',
  ),
  output: field(z.string().default('runs/reproduce'), { aliases: ['out'], placeholder: 'folder' }).describe(
    'where worlds, models and reports go; what is finished there is used again',
  ),
  seeds: field(z.array(z.int().min(0)).min(2).default([0, 1, 2])).describe(
    'seeds of the world and of everything in it; two at least, since one leaves no interval',
  ),
  size: field(z.enum(sizeNames).default('small')).describe(
    'size of the world and its models, as of the quickstart; tiny only shows that it runs',
  ),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
});

export const command = defineCommand({
  config,
  positionals: ['id'],
  examples: ['reproduce', 'reproduce over-optimization', 'reproduce equal-kl --seeds 0,1,2,3,4'],
  async run(settings, { output, progress, clock, interruptible, every, memory, version }) {
    const { id, output: folder, seeds, size, threads } = settings;
    if (id === undefined) {
      listExperiments(output);
      return 0;
    }
    const experiment = findRecord(experiments, id, { where: 'reproduce', what: 'experiment' });
    const signal = interruptible();
    const engine = await createEngine({
      ...(threads === undefined ? {} : { threads }),
      log: (message) => progress.note(message, 'warning'),
    });
    try {
      const outcome = await runExperiment(experiment, {
        ...{ folder, seeds, size, engine, clock, every, memory, version },
        interrupted: () => signal.aborted,
        observer: observeRun(progress),
      });
      progress.close();
      if (outcome === undefined) {
        output.text(`stopped; the same command goes on: heed reproduce ${id} --output ${folder}`);
        return 130;
      }
      printOutcome(experiment, outcome, folder, output);
      return 0;
    } finally {
      engine.dispose();
    }
  },
});

function listExperiments(output: Output): void {
  for (const { id, title, source, claim, minutes } of experiments)
    output.record({ event: 'experiment', id, title, source, claim, minutes });
  output.text(
    formatTable([
      ['experiment', 'minutes a seed', 'claim'],
      ...experiments.map(({ id, minutes, claim }) => [id, String(minutes), claim]),
    ]),
  );
}

function printOutcome({ id, title }: Experiment, outcome: Outcome, folder: string, output: Output): void {
  output.record({ event: 'reproduce', ...outcome });
  output.text(`${title}: ${output.colors.bold(outcome.verdict)}`);
  output.text('');
  output.text(
    formatTable([
      ['what is claimed', 'mean', '95 % interval', 'verdict'],
      ...outcome.tests.map(({ says, interval: { mean, low, high }, verdict }) => [
        says,
        mean.toFixed(3),
        `${low.toFixed(3)} to ${high.toFixed(3)}`,
        verdict,
      ]),
    ]),
  );
  output.text(`\nReport: ${folder}/${id}/report.md`);
}
