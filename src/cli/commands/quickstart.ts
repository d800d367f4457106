/** `heed quickstart`: the whole path from demonstrations to a judged policy, offline, in minutes. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { createEngine } from '../../engine/create-engine.ts';
import { defineCommand } from '../command.ts';
import { observeRun } from '../observe-run.ts';
import { type StageName, stageNames } from '../quickstart/context.ts';
import { runQuickstart } from '../quickstart/pipeline.ts';
import { printResult } from '../quickstart/print-result.ts';
import { sizeNames } from '../quickstart/sizes.ts';

const config = z.strictObject({
  output: field(z.string().default('runs/quickstart'), { aliases: ['out'], placeholder: 'folder' }).describe(
    'where data, models and figures go; an earlier quickstart there is replaced',
  ),
  seed: field(z.int().min(0).default(0)).describe(
    'seed of the world, the weights, the labels and the samples',
  ),
  size: field(z.enum(sizeNames).default('small')).describe(
    'tiny: seconds, to see that everything runs; small: under four minutes on two cores; base: about half an hour',
  ),
  klCoefficient: field(z.number().min(0).default(0.3)).describe(
    'what a nat of distance to the SFT policy costs PPO; at 0 it exploits the reward model',
  ),
  iterations: field(z.int().positive().optional()).describe('rollouts of PPO; default by size'),
  stages: field(z.array(z.enum(stageNames)).default([]), { placeholder: 'names' }).describe(
    `run only these of ${stageNames.join(', ')}; the others must have run before in this folder`,
  ),
  resume: field(z.boolean().default(false)).describe('go on where the run in this folder stopped'),
  threads: field(z.int().positive().optional()).describe(
    'threads of the engine; default: the machine’s cores',
  ),
});

export const command = defineCommand({
  config,
  examples: [
    'quickstart',
    'quickstart --seed 1 --out runs/second',
    'quickstart --kl-coefficient 0 --iterations 120 --out runs/hacked',
    'quickstart --resume',
  ],
  async run(settings, { output, progress, clock, interruptible, every, memory, version }) {
    const { output: folder, seed, size, klCoefficient, iterations, stages, resume, threads } = settings;
    const signal = interruptible();
    const engine = await createEngine({
      ...(threads === undefined ? {} : { threads }),
      log: (message) => progress.note(message, 'warning'),
    });
    const started = clock();
    try {
      const result = await runQuickstart({
        ...{ folder, seed, size, klCoefficient, resume, engine, clock, every, memory, version },
        ...(iterations === undefined ? {} : { iterations }),
        ...(stages.length === 0 ? {} : { only: stages as readonly StageName[] }),
        interrupted: () => signal.aborted,
        observer: observeRun(progress),
      });
      progress.close();
      if (result === undefined) {
        output.text(`stopped; go on with: heed quickstart --output ${folder} --resume`);
        return 130;
      }
      printResult(result, output, (clock() - started) / 1000);
      return 0;
    } finally {
      engine.dispose();
    }
  },
});
