/** Files of a run: config.yaml, metrics.jsonl, checkpoint-<step>/, model/. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import { sizeOf } from '../../core/shapes.ts';
import { loadAdapterWeights, saveAdapter } from '../../models/adapter-folder.ts';
import { loadWeights, type RawConfig, type SaveOptions, saveModel } from '../../models/checkpoint.ts';
import type { LoraModel } from '../../models/lora-model.ts';
import { readHeader, readTensor, type WritableType, writeSafetensors } from '../../models/safetensors.ts';
import type { Parameters } from '../../nn/parameters.ts';
import type { MetricRecord, TrainerState } from './trainer.ts';

export interface RunFolderOptions {
  readonly folder: string;
  readonly overwrite: boolean;
  readonly resume: boolean;
  /** Text of config.yaml. */
  readonly configText: string;
  /** What a resumed run must share with the run it continues, as one comparable text. */
  readonly fingerprint: string;
  readonly saveLimit: number;
  readonly modelConfig: RawConfig;
  /** Tokenizer and further files of the model folder. */
  readonly modelFiles: Readonly<Record<string, Uint8Array>>;
  /** Where an adapter is trained: its model, and where the base lies. Folders then hold the adapter alone. */
  readonly adapter?: { readonly model: LoraModel; readonly base: string };
  /** Text of the model's README.md, from the run's records. */
  readonly card?: (history: readonly MetricRecord[]) => string;
}

export interface RunFolder {
  readonly folder: string;
  /** Appends to metrics.jsonl. */
  log(record: MetricRecord): void;
  /** Writes checkpoint-<step> and deletes those beyond the limit. Returns its path. */
  saveCheckpoint(state: TrainerState, parameters: Parameters): string;
  /**
   * State of the newest checkpoint, with its weights loaded into `parameters`; undefined when there is none. With `before`,
   * checkpoints of that step or later are deleted first.
   */
  loadCheckpoint(parameters: Parameters, before?: number): TrainerState | undefined;
  /** Writes model/, with further files by name. Returns its path. */
  saveModel(parameters: Parameters, dtype: WritableType, files?: Readonly<Record<string, string>>): string;
  /**
   * Removes what this run made here, folders included, when it came to nothing: no record, no checkpoint, no reproducer.
   * What was there before stays, and so does a run that was to be resumed.
   */
  discardIfEmpty(): void;
}

/** Names of what a run writes into its folder. */
const WRITTEN =
  /^(checkpoint-\d+|model|config\.yaml|metrics\.jsonl|run\.db(-wal|-shm)?|tensorboard|report\.html|reproducer-.*\.safetensors)$/;
/** Of these, what somebody may want back. */
const RESULT = /^(checkpoint-|model$|metrics\.jsonl$|reproducer-)/;

/** Marks vectors of `extra` among those of the optimizer. */
const EXTRA = 'extra.';

const stateSchema = z.object({
  format: z.literal(1),
  global_step: z.int().nonnegative(),
  num_input_tokens_seen: z.int().nonnegative(),
  optimizer_steps: z.int().nonnegative(),
  /** Counters and controllers of a loop that has more state than these. */
  extra: z.record(z.string(), z.number()).optional(),
  fingerprint: z.string(),
  log_history: z.array(z.record(z.string(), z.number())),
});

/**
 * Opens or creates a run folder.
 *
 * @throws ConfigError when the folder holds a run and neither `overwrite` nor `resume` was asked for
 */
export function openRunFolder(options: RunFolderOptions): RunFolder {
  const { folder, overwrite, resume } = options;
  const metricsFile = join(folder, 'metrics.jsonl');
  const holdsRun = existsSync(join(folder, 'config.yaml')) || existsSync(metricsFile);
  if (holdsRun && !resume) {
    if (!overwrite) {
      throw new ConfigError({
        where: '--output',
        expected: 'a folder without a run',
        received: `"${folder}", which holds one`,
        fix: 'Name another folder, or pass --resume to go on, or --overwrite to replace it',
      });
    }
    for (const entry of readdirSync(folder)) {
      if (WRITTEN.test(entry)) rmSync(join(folder, entry), { recursive: true, force: true });
    }
  }
  const created = mkdirSync(folder, { recursive: true });
  const before = new Set(readdirSync(folder));
  let history: MetricRecord[] = [];

  const checkpoints = (): number[] =>
    readdirSync(folder)
      .map((name) => /^checkpoint-(\d+)$/.exec(name)?.[1])
      .filter((step) => step !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
  const write = (path: string, written: Omit<SaveOptions, 'config'>): void =>
    options.adapter === undefined
      ? saveModel(path, { config: options.modelConfig, ...written })
      : saveAdapter(path, { ...options.adapter, ...written });
  const checkpointPath = (step: number): string => join(folder, `checkpoint-${step}`);

  // A run that cannot be resumed keeps its configuration.
  const newest = checkpoints().at(-1);
  if (resume && newest !== undefined) readTrainerState(checkpointPath(newest), options.fingerprint);
  writeAtomically(join(folder, 'config.yaml'), options.configText);

  return {
    folder,
    log(record) {
      history.push(record);
      appendFileSync(metricsFile, `${JSON.stringify(record)}\n`);
    },
    saveCheckpoint(state, parameters) {
      const path = checkpointPath(state.step);
      write(path, {
        parameters,
        files: {
          ...options.modelFiles,
          'trainer_state.json': trainerState(state, history, options.fingerprint),
        },
        extra: (temporary) =>
          writeSafetensors(
            join(temporary, 'optimizer.safetensors'),
            [
              ...Object.entries(state.optimizer.moments),
              ...Object.entries(state.extra?.vectors ?? {}).map(
                ([name, data]) => [EXTRA + name, data] as const,
              ),
            ].map(([name, data]) => ({ name, shape: [data.length], data })),
          ),
      });
      const all = checkpoints();
      for (const step of all.slice(0, Math.max(0, all.length - options.saveLimit))) {
        rmSync(checkpointPath(step), { recursive: true, force: true });
      }
      return path;
    },
    loadCheckpoint(parameters, before = Number.POSITIVE_INFINITY) {
      for (const step of checkpoints().filter((step) => step >= before)) {
        rmSync(checkpointPath(step), { recursive: true, force: true });
      }
      const step = checkpoints().at(-1);
      if (step === undefined) return undefined;
      const path = checkpointPath(step);
      const stored = readTrainerState(path, options.fingerprint);
      if (options.adapter === undefined) loadWeights(path, parameters);
      else loadAdapterWeights(path, parameters);
      const moments: Record<string, Float32Array> = {};
      const vectors: Record<string, Float32Array> = {};
      for (const [name, tensor] of readHeader(join(path, 'optimizer.safetensors'))) {
        const data = new Float32Array(sizeOf(tensor.shape));
        readTensor(tensor, data);
        if (name.startsWith(EXTRA)) vectors[name.slice(EXTRA.length)] = data;
        else moments[name] = data;
      }
      history = stored.log_history;
      // Records after the checkpoint belong to steps that will be taken again.
      writeAtomically(metricsFile, history.map((record) => `${JSON.stringify(record)}\n`).join(''));
      return {
        step: stored.global_step,
        tokens: stored.num_input_tokens_seen,
        optimizer: { steps: stored.optimizer_steps, moments },
        ...(stored.extra === undefined ? {} : { extra: { numbers: stored.extra, vectors } }),
      };
    },
    saveModel(parameters, dtype, files = {}) {
      const path = join(folder, 'model');
      write(path, {
        parameters,
        dtype,
        files: {
          ...(options.card === undefined ? {} : { 'README.md': options.card(history) }),
          ...options.modelFiles,
          ...files,
        },
      });
      return path;
    },
    discardIfEmpty() {
      const written = readdirSync(folder).filter((entry) => WRITTEN.test(entry) && !before.has(entry));
      if ((holdsRun && resume) || written.some((entry) => RESULT.test(entry))) return;
      for (const entry of written) rmSync(join(folder, entry), { recursive: true, force: true });
      if (created !== undefined) removeEmptyFolders(resolve(folder), resolve(created));
    },
  };
}

/** Removes `folder` and those above it up to `top`, as far as they are empty. */
function removeEmptyFolders(folder: string, top: string): void {
  if (readdirSync(folder).length > 0) return;
  rmdirSync(folder);
  if (folder !== top) removeEmptyFolders(dirname(folder), top);
}

/** The keys of transformers' trainer_state.json that tools read, and ours. */
function trainerState(state: TrainerState, history: readonly MetricRecord[], fingerprint: string): string {
  return JSON.stringify(
    {
      format: 1,
      best_metric: null,
      best_model_checkpoint: null,
      epoch: history.findLast((record) => record.epoch !== undefined)?.epoch ?? 0,
      global_step: state.step,
      is_hyper_param_search: false,
      is_local_process_zero: true,
      is_world_process_zero: true,
      num_input_tokens_seen: state.tokens,
      optimizer_steps: state.optimizer.steps,
      ...(state.extra === undefined ? {} : { extra: state.extra.numbers }),
      fingerprint,
      log_history: history,
    },
    null,
    1,
  );
}

function readTrainerState(path: string, fingerprint: string): z.output<typeof stateSchema> {
  const file = join(path, 'trainer_state.json');
  let stored: z.output<typeof stateSchema>;
  try {
    stored = stateSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new CheckpointError({
      where: file,
      expected: 'the state of a heed run',
      received: 'a file that cannot be read as one',
      fix: 'Delete this checkpoint folder to resume from the one before',
      cause,
    });
  }
  if (stored.fingerprint !== fingerprint) {
    throw new CheckpointError({
      where: file,
      expected: `a run with the same data, model and settings (${fingerprint})`,
      received: stored.fingerprint,
      fix: 'Resume with the configuration the run was started with, or start a new run',
    });
  }
  return stored;
}

function writeAtomically(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.partial`;
  writeFileSync(temporary, text);
  renameSync(temporary, file);
}
