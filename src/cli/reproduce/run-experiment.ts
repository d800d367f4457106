/** Runs an experiment over its seeds, each in a folder whose finished stages are not run again, and writes what came out. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { QuickstartOptions } from '../quickstart/context.ts';
import { openPipeline, prepare } from '../quickstart/pipeline.ts';
import { Interrupted, writeAtomically } from '../quickstart/stages.ts';
import type { Experiment, Measurement, TestResult, Verdict } from './experiment.ts';
import { renderReport } from './report.ts';
import { combine, judgeTest } from './verdict.ts';

/** What came out of an experiment. */
export interface Outcome {
  readonly experiment: string;
  readonly verdict: Verdict;
  readonly tests: readonly TestResult[];
  readonly seeds: readonly number[];
  readonly size: string;
  /** One per seed, in order. */
  readonly runs: readonly Measurement[];
}

export interface ExperimentOptions
  extends Omit<QuickstartOptions, 'folder' | 'seed' | 'klCoefficient' | 'resume'> {
  /** Folder of all experiments: `seed-<seed>` below it holds what they share, `<id>` what this one found. */
  readonly folder: string;
  readonly seeds: readonly number[];
}

/**
 * Measures every seed, decides, and writes `<folder>/<id>/report.json`, `report.md` and `curves.svg`.
 *
 * @returns undefined when the user stopped it: what was finished is used again the next time
 */
export async function runExperiment(
  experiment: Experiment,
  options: ExperimentOptions,
): Promise<Outcome | undefined> {
  const { folder, seeds, size } = options;
  const runs: Measurement[] = [];
  try {
    for (const seed of seeds) {
      const lab = openPipeline({
        ...options,
        folder: join(folder, `seed-${seed}`),
        seed,
        klCoefficient: 0.3,
        resume: true,
      });
      options.observer.note(`${experiment.id}, seed ${seed}`);
      await prepare(lab.pipeline, lab.stages);
      runs.push(await lab.stages.run(experiment.id, () => experiment.measure(lab)));
    }
  } catch (error) {
    if (error instanceof Interrupted) return undefined;
    throw error;
  }
  const tests = experiment.tests.map((test) => judgeTest(test, runs));
  const outcome: Outcome = { experiment: experiment.id, verdict: combine(tests), tests, seeds, size, runs };
  await writeOutcome(join(folder, experiment.id), experiment, outcome);
  return outcome;
}

async function writeOutcome(folder: string, experiment: Experiment, outcome: Outcome): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const { drawLineChart } = await import('../../report/line-chart.ts');
  writeAtomically(join(folder, 'report.json'), `${JSON.stringify(outcome, null, 2)}\n`);
  writeAtomically(
    join(folder, 'curves.svg'),
    drawLineChart({
      title: `${experiment.title}, seeds ${outcome.seeds.join(', ')}`,
      axis: experiment.axis,
      curves: outcome.runs.flatMap(({ curves }) => curves),
    }),
  );
  writeAtomically(join(folder, 'report.md'), renderReport(experiment, outcome));
}
