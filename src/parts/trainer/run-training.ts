/** One training run of a method, from a resolved configuration to a saved model. */
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { ConfigError, DataError } from '../../core/errors.ts';
import { createRng } from '../../core/rng.ts';
import { type EncodeReport, type Row, stopIdsOf } from '../../data/index.ts';
import type { Engine } from '../../engine/engine.ts';
import { baseNameOf } from '../../models/adapter-folder.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import { isLoraModel } from '../../models/lora-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { adam, adamW, type Optimizer, type Range, sgd } from '../../optim/optimizer.ts';
import { createSchedule } from '../../optim/schedule.ts';
import { checkTokenizerFits, loadTokenizer } from '../../tokenizer/index.ts';
import { columnBucket, stepsPerEpoch } from '../batches.ts';
import type { BuildContext, TrainMethod } from '../method.ts';
import type { RolloutRecord } from '../rollout/record.ts';
import { greaterIsBetter } from './best.ts';
import type { TrainerConfig } from './config.ts';
import { readHeldOutRows, readTrainingRows } from './data-fields.ts';
import { inRunFolder } from './in-run-folder.ts';
import type { Watch } from './learner-watch.ts';
import { loadToTrain, withLora } from './lora-fields.ts';
import type { MemoryChoice } from './memory.ts';
import { writeReproducer } from './reproducer.ts';
import { runCard } from './run-card.ts';
import { openRunFolder, type RunFolderOptions } from './run-folder.ts';
import { loadTeacher, type TeacherChoice } from './teacher-fields.ts';
import { type MetricRecord, type TrainerSettings, train } from './trainer.ts';
import { fitTraining, longestColumns } from './training-memory.ts';
import { type WatchConfig, watchSettings } from './watch-fields.ts';
import { createWatchdog } from './watchdog.ts';

/** What a run tells the outside while it goes on. */
export interface RunObserver {
  stage(name: string, done: number, total: number, figures?: Readonly<Record<string, number>>): void;
  note(message: string): void;
  metrics(record: MetricRecord): void;
  /** The completions of an iteration, of methods that sample. */
  rollouts?(records: readonly RolloutRecord[]): void;
}

export interface RunContext {
  readonly engine: Engine;
  /** The resolved configuration as YAML, for config.yaml. */
  readonly configText: string;
  readonly clock: () => number;
  readonly interrupted: () => boolean;
  readonly observer: RunObserver;
  /** Called once the folder of the run is there, before anything is logged. What it returns is called when the run ends. */
  readonly open?: (folder: string) => Promise<(outcome: RunSummary['outcome'] | 'failed') => Promise<void>>;
}

export interface RunSummary {
  readonly outcome: 'done' | 'interrupted';
  readonly folder: string;
  /** Where the result lies: model/ when done, the checkpoint when interrupted. */
  readonly saved: string;
  readonly steps: number;
  readonly first: MetricRecord;
  readonly last: MetricRecord;
  readonly milliseconds: number;
}

/** Encoded rows are kept from so many rows on; fewer are encoded in less time than one notices. */
export const cachedRows = 2000;

/**
 * Loads model, tokenizer and data, trains, and writes the run folder.
 *
 * @throws DataError, CheckpointError, ConfigError on bad input; NumericError when a number is not finite
 */
export async function runTraining(
  method: TrainMethod,
  config: TrainerConfig,
  context: RunContext,
): Promise<RunSummary> {
  const { engine, observer, clock } = context;
  const started = clock();
  const output =
    config.output ?? join('runs', `${method.id}-${basename(config.model).replace(/\.bin$/, '')}`);
  const cacheFolder = join(dirname(output), '.cache');
  const inputs = await loadInputs(method, config, observer, cacheFolder);
  const { loaded, encodeContext, buildContext, training, evaluation, rows } = inputs;
  checkBest(config, evaluation?.examples.length ?? 0);
  // What the settings get wrong shows here, before a folder is made.
  const step = method.build(config, buildContext);
  const { model, parameters } = loaded;
  const { tokenizer } = encodeContext;

  const run = openRunFolder({
    folder: output,
    overwrite: config.overwrite,
    resume: config.resume,
    configText: context.configText,
    fingerprint: fingerprint(method.id, config, rows),
    saveLimit: checkpointsKept(config),
    modelConfig: loaded.config,
    modelFiles: Object.fromEntries(tokenizer.files),
    ...adapterOf(model, config.model),
    card: (history) =>
      runCard(
        {
          ...{ method, model: config.model, data: [config.data].flat(), configText: context.configText },
          ...{ modelConfig: loaded.config, adapter: isLoraModel(model) },
        },
        history,
      ),
  });
  return inRunFolder(run, context.open, async () => {
    const prepareContext = {
      ...encodeContext,
      engine,
      parameters,
      modelConfig: loaded.config,
      training: training.examples,
      cacheFolder,
      onProgress: (stage: string, done: number, total: number) => observer.stage(stage, done, total),
    };
    const prepare = async (examples: readonly unknown[]): Promise<readonly unknown[]> =>
      method.prepare === undefined || examples.length === 0
        ? examples
        : method.prepare(examples, { ...prepareContext, ...inputs.reference });
    // The reference is the model as loaded: prepare before a checkpoint replaces the weights.
    const trainingExamples = await prepare(training.examples);
    const evaluationExamples = await prepare(evaluation?.examples ?? []);

    const fitted = fitTraining(config, loaded, step, longestColumns(step, trainingExamples));
    if (config.memory !== undefined) noteChoice(fitted, observer);
    const settings = trainerSettings({ ...config, ...fitted }, trainingExamples.length);
    const optimizer = createOptimizer(config, parameters);
    const resume = config.resume ? run.loadCheckpoint(parameters) : undefined;
    if (config.resume) {
      observer.note(
        resume === undefined
          ? 'no checkpoint to resume from: starting anew'
          : `resuming after step ${resume.step}`,
      );
    }
    const records: MetricRecord[] = [];
    let saved = '';
    const result = await train({
      engine,
      model: method.trained?.(model, config) ?? model,
      parameters,
      step,
      examples: trainingExamples,
      evaluation: evaluationExamples,
      optimizer,
      schedule: createSchedule({
        kind: config.schedule,
        learningRate: config.learningRate,
        warmupSteps: config.warmupSteps,
        totalSteps: settings.totalSteps,
        minRatio: config.minLearningRateRatio,
      }),
      settings,
      rng: createRng(config.seed),
      clock,
      hooks: {
        log(record) {
          records.push(record);
          run.log(record);
          observer.metrics(record);
        },
        progress: ({ step, totalSteps, loss }) => observer.stage('train', step, totalSteps, { loss }),
        async save(state) {
          saved = run.saveCheckpoint(state, parameters);
          observer.note(`saved ${saved}`);
        },
        restore: async (before) => run.loadCheckpoint(parameters, before),
        interrupted: context.interrupted,
      },
      watch: watchOf(method.id, config, output, observer),
      ...(resume === undefined ? {} : { resume }),
    });
    if (result.outcome === 'done') {
      const finish = await method.finish?.({
        ...prepareContext,
        training: trainingExamples,
        evaluation: evaluationExamples,
        readRows: (path) => readHeldOutRows(path, config),
      });
      if (finish !== undefined) {
        const record = { step: result.state.step, ...finish.metrics };
        records.push(record);
        run.log(record);
        observer.metrics(record);
      }
      saved = run.saveModel(parameters, storedTypes[config.dtype], finish?.files);
    }
    return {
      outcome: result.outcome,
      folder: output,
      saved,
      steps: result.state.step,
      first: records[0] ?? {},
      last: Object.assign({}, ...records.slice(-3)) as MetricRecord,
      milliseconds: clock() - started,
    };
  });
}

/** The model to train: as loaded, with the method's heads, with its adapter; the tokenizer; what the step is built with. */
export async function loadTrained(
  method: TrainMethod,
  config: TrainerConfig & Partial<TeacherChoice>,
  note: (message: string) => void,
) {
  const source = await loadToTrain(config, method.load);
  const tokenizer = await loadTokenizer(config.tokenizer ?? config.model);
  checkTokenizerFits(tokenizer, {
    vocabSize: source.model.vocabSize,
    where: config.tokenizer ?? config.model,
  });
  const adapted = method.adapt?.(source, { config, tokenizer }) ?? source;
  const teacher = method.needs.includes('teacher')
    ? await loadTeacher(config as TrainerConfig & TeacherChoice, source, tokenizer, note)
    : undefined;
  const stopIds = stopIdsOf(tokenizer, (config as { readonly stopTokens?: readonly string[] }).stopTokens);
  const buildContext: BuildContext = { stopIds, ...(teacher && { teacher }) };
  return { source, tokenizer, adapted, loaded: withLora(adapted, config), buildContext };
}

/**
 * Reads and checks everything a run starts from: model, tokenizer, rows, examples.
 *
 * @param cacheFolder keeps the encoded rows of large data sets; none when left out
 * @throws DataError, CheckpointError, ConfigError on bad input
 */
export async function loadInputs(
  method: TrainMethod,
  config: TrainerConfig,
  observer: RunObserver,
  cacheFolder?: string,
) {
  const { source, tokenizer, adapted, loaded, buildContext } = await loadTrained(
    method,
    config,
    observer.note,
  );
  if (config.maxLength > source.model.maxPositions) {
    throw new ConfigError({
      where: '--max-length',
      expected: `at most ${source.model.maxPositions}, the model's context`,
      received: String(config.maxLength),
      fix: `Set --max-length ${source.model.maxPositions}`,
    });
  }
  const { model } = loaded;
  // The model before training: with a new adapter, that is the base alone, in the same memory.
  const reference = { model: adapted.model, parameters: adapted.parameters };

  const rows = await readTrainingRows(config, observer.note);
  const heldOut =
    config.evaluationData === undefined ? [] : await readHeldOutRows(config.evaluationData, config);
  const split = splitRows(rows, heldOut, config);
  const keeps = cacheFolder !== undefined && rows.length >= cachedRows;
  const { teacher } = buildContext;
  const encodeContext = {
    ...{ config, tokenizer, model },
    ...(teacher && { teacher: teacher.model }),
    ...(keeps ? { encodeFolder: cacheFolder } : {}),
  };
  const training = method.encode(split.training, encodeContext);
  const evaluation =
    split.evaluation.length === 0 ? undefined : method.encode(split.evaluation, encodeContext);
  for (const encoded of evaluation === undefined ? [training] : [training, evaluation]) {
    noteReport(encoded.report, config.maxLength, observer);
  }
  return { loaded, reference, encodeContext, buildContext, training, evaluation, rows: rows.length };
}

/** A roll-back may need the checkpoint before the last. */
export const checkpointsKept = ({
  saveLimit,
  watchAction,
}: Pick<TrainerConfig, 'saveLimit' | 'watchAction'>): number =>
  watchAction === 'roll-back' ? Math.max(2, saveLimit) : saveLimit;

/** The watchdog of a run, which saves what it stops beside the run's files. */
export function watchOf(
  method: string,
  config: WatchConfig & Readonly<Record<string, unknown>>,
  folder: string,
  { note }: RunObserver,
): Watch {
  return {
    watchdog: createWatchdog(watchSettings(config)),
    capture: (capture) => writeReproducer(folder, { method, config }, capture),
    note,
  };
}

/** Tells what `--memory` came to. */
export function noteChoice(
  { microBatchSize, gradientCheckpointing }: MemoryChoice,
  { note }: RunObserver,
): void {
  note(
    `--memory: micro-batches of ${microBatchSize}, gradient checkpointing ${gradientCheckpointing ? 'on' : 'off'}`,
  );
}

/** What the run folder needs to write adapters, where the model carries one. */
export function adapterOf(model: CausalModel, source: string): Pick<RunFolderOptions, 'adapter'> {
  return isLoraModel(model) ? { adapter: { model, base: baseNameOf(source) } } : {};
}

/** Tells what encoding had to cut or leave out. */
export function noteReport(report: EncodeReport, maxLength: number, { note }: RunObserver): void {
  const { truncated, sequences, truncatedTokens, dropped, rows, reasons } = report;
  if (truncated > 0)
    note(
      `${truncated} of ${sequences} sequences were cut to ${maxLength} tokens (${truncatedTokens} tokens)`,
    );
  if (dropped > 0) note(`${dropped} of ${rows} rows were left out, the first because: ${reasons[0]}`);
}

export const storedTypes = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' } as const;

/** Held-out rows: a file's, or the given share of the training rows, chosen by the seed. */
function splitRows(
  rows: readonly Row[],
  heldOut: readonly Row[],
  { evaluationShare, seed }: TrainerConfig,
): { training: readonly Row[]; evaluation: readonly Row[] } {
  const count = heldOut.length > 0 ? 0 : Math.round(evaluationShare * rows.length);
  if (count === 0) return { training: rows, evaluation: heldOut };
  if (count >= rows.length) {
    throw new DataError({
      where: '--evaluation-share',
      expected: `a share that leaves training rows of ${rows.length}`,
      received: String(evaluationShare),
      fix: 'Lower it or add data',
    });
  }
  const order = createRng(seed).split('evaluation').permutation(rows.length);
  const chosen = new Set(order.subarray(0, count));
  return {
    training: rows.filter((_, index) => !chosen.has(index)),
    evaluation: rows.filter((_, index) => chosen.has(index)),
  };
}

/** Without evaluations there is no best one. */
function checkBest({ bestMetric, patience }: TrainerConfig, evaluated: number): void {
  if (bestMetric === undefined && patience === 0) return;
  if (bestMetric === undefined) {
    throw new ConfigError({
      where: '--patience',
      expected: 'a metric to be patient about',
      received: 'no --best-metric',
      fix: 'Add --best-metric loss',
    });
  }
  if (evaluated > 0) return;
  throw new ConfigError({
    where: '--best-metric',
    expected: 'held-out rows to evaluate on',
    received: 'none',
    fix: 'Add --evaluation-data or --evaluation-share, and --evaluate-every',
  });
}

/** Sizes and counts of the trainer from the configuration. */
export function trainerSettings(config: TrainerConfig, examples: number): TrainerSettings {
  const perEpoch = stepsPerEpoch(examples, config.batchSize);
  return {
    batchSize: config.batchSize,
    microBatchSize: Math.min(config.microBatchSize ?? config.batchSize, config.batchSize),
    evaluationBatchSize: config.evaluationBatchSize,
    totalSteps: config.maxSteps ?? Math.max(1, Math.round(config.epochs * perEpoch)),
    shuffle: config.shuffle,
    maxGradNorm: config.maxGradNorm,
    bucket: columnBucket,
    logEvery: config.logEvery,
    evaluateEvery: config.evaluateEvery,
    saveEvery: config.saveEvery,
    gradientCheckpointing: config.gradientCheckpointing,
    ...(config.bestMetric === undefined
      ? {}
      : {
          best: {
            metric: config.bestMetric,
            greaterIsBetter: config.greaterIsBetter ?? greaterIsBetter(config.bestMetric),
            patience: config.patience,
          },
        }),
  };
}

/** The fields of the configuration that an optimizer reads. */
type OptimizerConfig = Pick<
  TrainerConfig,
  'optimizer' | 'weightDecay' | 'momentum' | 'adamBeta1' | 'adamBeta2' | 'adamEpsilon'
>;

/** The optimizer over a model's flat vector; matrices decay, vectors (norms, biases) do not. */
export function createOptimizer(config: OptimizerConfig, parameters: Parameters): Optimizer {
  const decayed: Range[] = parameters.specs
    .filter(({ shape }) => shape.length > 1)
    .map(({ name }) => {
      const view = parameters.view(name);
      const start = (view.byteOffset - parameters.flat.byteOffset) / Float32Array.BYTES_PER_ELEMENT;
      return { start, end: start + view.length };
    });
  const { weightDecay, momentum } = config;
  const vector = { size: parameters.flat.length, beside: parameters.flat, weightDecay, decayed };
  if (config.optimizer === 'sgd') return sgd({ ...vector, momentum });
  const options = {
    ...vector,
    beta1: config.adamBeta1,
    beta2: config.adamBeta2,
    epsilon: config.adamEpsilon,
  };
  return config.optimizer === 'adam' ? adam(options) : adamW(options);
}

/** Settings that change the trajectory; a resumed run must agree on them. */
export function fingerprint(method: string, config: object, rows: number): string {
  const {
    output,
    overwrite,
    resume,
    logEvery,
    saveEvery,
    saveLimit,
    threads,
    dtype,
    evaluateEvery,
    rolloutLimit,
    ...rest
  } = config as Partial<TrainerConfig & { rolloutLimit: number }>;
  const text = JSON.stringify([method, rows, Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
