/**
 * The whole path of learning from feedback, on a world whose truth is known: demonstrations → SFT → pairs labelled by a
 * noisy annotator → reward model → DPO and PPO on the same labels → evaluation on gold.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { z } from 'zod';
import { createRng } from '../../core/rng.ts';
import { ppo, config as ppoConfig } from '../../methods/online/ppo.ts';
import { dpo, config as dpoConfig } from '../../methods/preference/dpo.ts';
import { btRm, config as btRmConfig } from '../../methods/reward/bt-rm.ts';
import { sft, config as sftConfig } from '../../methods/supervised/sft.ts';
import { buildModel, saveModel } from '../../models/index.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import type { TrainMethod } from '../../parts/method.ts';
import type { OnlineMethod } from '../../parts/online-method.ts';
import type { TrainerConfig } from '../../parts/trainer/config.ts';
import { type OnlineTrainingConfig, runOnlineTraining } from '../../parts/trainer/run-online-training.ts';
import { runTraining } from '../../parts/trainer/run-training.ts';
import { trainBpe } from '../../tokenizer/index.ts';
import {
  limits,
  type Pipeline,
  promptRow,
  type QuickstartOptions,
  stageNames,
  writeRows,
} from './context.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { openGoldLog } from './gold-log.ts';
import { labelPairs } from './label.ts';
import { sizes } from './sizes.ts';
import { Interrupted, openStages, type StageCost, type Stages } from './stages.ts';
import { writeQuickstartReport, writeSummary } from './summary.ts';
import { createTestbed } from './testbed.ts';

export interface QuickstartResult {
  readonly folder: string;
  readonly parameters: number;
  readonly evaluation: Evaluation;
  readonly costs: readonly StageCost[];
  /** Model folders by policy. */
  readonly models: Readonly<Record<'sft' | 'dpo' | 'ppo', string>>;
}

/**
 * Runs every stage into `folder`. Data, models, metrics and configurations stay there to look at.
 *
 * @returns undefined when the user stopped it
 * @throws ConfigError when a stage that may not run has not run before, or a resumed run has other settings
 */
export async function runQuickstart(options: QuickstartOptions): Promise<QuickstartResult | undefined> {
  if (!options.resume && options.only === undefined) clear(options.folder);
  const { pipeline, stages } = openPipeline(options);
  try {
    return await runStages(pipeline, stages);
  } catch (error) {
    if (error instanceof Interrupted) return undefined;
    throw error;
  }
}

/** A pipeline in its folder, and the records of the stages that are done there. */
export function openPipeline(options: QuickstartOptions): {
  readonly pipeline: Pipeline;
  readonly stages: Stages;
} {
  const { folder, seed, size, klCoefficient } = options;
  mkdirSync(folder, { recursive: true });
  const iterations = options.iterations ?? sizes[size].ppo.iterations;
  const stages = openStages({
    ...options,
    folder: join(folder, 'stages'),
    fingerprint: `seed ${seed}, size ${size}, klCoefficient ${klCoefficient}, iterations ${iterations}`,
  });
  const rng = createRng(seed);
  const pipeline: Pipeline = {
    options,
    size: { ...sizes[size], ppo: { ...sizes[size].ppo, iterations } },
    testbed: createTestbed(seed, rng.split('annotator')),
    rng,
    path: (...parts) => join(folder, ...parts),
  };
  return { pipeline, stages };
}

async function runStages(pipeline: Pipeline, stages: Stages): Promise<QuickstartResult> {
  const { path } = pipeline;
  const { parameters } = await prepare(pipeline, stages);
  await stages.run('dpo', () => trainDpo(pipeline, 'dpo'));
  await stages.run('ppo', () => trainPolicy(pipeline, 'ppo'));
  const evaluation = await stages.run('evaluate', () => evaluate(pipeline));
  const result: QuickstartResult = {
    folder: pipeline.options.folder,
    parameters,
    evaluation,
    costs: stages.costs,
    models: { sft: path('sft', 'model'), dpo: path('dpo', 'model'), ppo: path('ppo', 'model') },
  };
  writeSummary(pipeline, result);
  await writeQuickstartReport(pipeline, result);
  return result;
}

/** From nothing to an SFT policy, labelled pairs of its completions, and a reward model. */
export async function prepare(pipeline: Pipeline, stages: Stages): Promise<{ readonly parameters: number }> {
  const { size, path } = pipeline;
  const { pairs, steps } = size;
  await stages.run('world', async () => makeData(pipeline));
  const { parameters } = await stages.run('tokenizer', async () => makeModel(pipeline));
  const tiny = pipeline.options.size === 'tiny';
  const common = commonSettings(pipeline);
  await stages.run('sft', () =>
    trainStage(pipeline, sft as unknown as TrainMethod, 'sft', {
      ...sftConfig.parse({
        ...common,
        model: path('base'),
        data: path('data', 'demonstrations.jsonl'),
        // Rows average 39 tokens: three or four of them share a row of the batch.
        packing: true,
        maxLength: 128,
        batchSize: 4,
        maxSteps: steps.sft,
        learningRate: tiny ? 1e-2 : 3e-3,
        adamBeta2: 0.99,
        schedule: 'cosine',
        warmupSteps: Math.min(20, steps.sft),
      }),
    }),
  );
  await stages.run('label', () => labelPairs(pipeline, pairs));
  const data = path('data', 'preferences.jsonl');
  const evaluationData = path('data', 'preferences-held-out.jsonl');
  await stages.run('reward-model', () =>
    trainStage(pipeline, btRm as unknown as TrainMethod, 'reward-model', {
      ...btRmConfig.parse({
        ...common,
        model: path('sft', 'model'),
        ...{ data, evaluationData },
        batchSize: 32,
        evaluationBatchSize: 32,
        maxSteps: steps.rewardModel,
        learningRate: 1e-3,
        schedule: 'cosine',
        warmupSteps: Math.min(10, steps.rewardModel),
        referenceData: path('data', 'samples.jsonl'),
      }),
    }),
  );
  return { parameters };
}

const commonSettings = ({ options: { seed } }: Pipeline) => ({
  seed,
  maxLength: limits.prompt + limits.newTokens,
  logEvery: 10,
});

/** DPO on the labelled pairs, into the folder `name`. */
export function trainDpo(
  pipeline: Pipeline,
  name: string,
  changes: Partial<z.input<typeof dpoConfig>> = {},
): Promise<Record<string, number>> {
  const { size, path } = pipeline;
  return trainStage(pipeline, dpo as unknown as TrainMethod, name, {
    ...dpoConfig.parse({
      ...commonSettings(pipeline),
      model: path('sft', 'model'),
      data: path('data', 'preferences.jsonl'),
      evaluationData: path('data', 'preferences-held-out.jsonl'),
      batchSize: 32,
      evaluationBatchSize: 32,
      maxSteps: size.steps.dpo,
      learningRate: 4e-4,
      beta: 0.2,
      schedule: 'cosine',
      warmupSteps: Math.min(15, size.steps.dpo),
      ...changes,
    }),
  });
}

function makeData({ testbed, size, path }: Pipeline): { rows: number } {
  mkdirSync(path('data'), { recursive: true });
  const demonstrations = testbed.demonstrations(size.demonstrations);
  writeRows(path('data', 'demonstrations.jsonl'), demonstrations);
  writeRows(path('data', 'prompts.jsonl'), testbed.requests('train', size.prompts).map(promptRow));
  return { rows: demonstrations.length };
}

function makeModel({ testbed, size, path, rng }: Pipeline): { parameters: number } {
  const texts = testbed.demonstrations(Math.min(size.demonstrations, 4000));
  const tokenizer = trainBpe(
    texts.map(({ prompt, completion }) => prompt + completion),
    { vocabSize: size.vocabulary, specialTokens: { bos: '<s>', eos: '</s>' } },
  );
  const { hidden, intermediate, layers, heads } = size.model;
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: 256,
    hidden_act: 'silu',
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    initializer_range: 0.02,
    tie_word_embeddings: true,
    vocab_size: tokenizer.vocabSize,
    bos_token_id: tokenizer.bosId,
    eos_token_id: tokenizer.eosId,
  };
  const parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, rng.split('initialize'));
  saveModel(path('base'), { config, parameters, files: Object.fromEntries(tokenizer.files) });
  return { parameters: parameters.count };
}

/** One training stage, from its last checkpoint where it has one. */
async function trainStage(
  pipeline: Pipeline,
  method: TrainMethod,
  name: string,
  config: TrainerConfig,
): Promise<Record<string, number>> {
  const output = pipeline.path(name);
  const settings = { ...config, output, ...startOrResume(output) };
  const summary = await runTraining(method, settings, runContext(pipeline, name, settings));
  if (summary.outcome === 'interrupted') throw new Interrupted();
  return lasting(summary.last);
}

/** PPO against the reward model, into the folder `name`. */
export function trainPolicy(
  pipeline: Pipeline,
  name: string,
  changes: Partial<z.input<typeof ppoConfig>> = {},
): Promise<Record<string, number>> {
  return trainOnlineStage(pipeline, name, ppo as unknown as OnlineMethod, {
    ...ppoConfig.parse({
      ...onlineSettings(pipeline),
      criticLearningRate: 1e-3,
      klCoefficient: pipeline.options.klCoefficient,
      missingEosPenalty: 1,
      ...changes,
    }),
  });
}

/** What online methods have in common here. */
export const onlineSettings = ({ path, size, options: { seed } }: Pipeline) => ({
  model: path('sft', 'model'),
  rewardModel: path('reward-model', 'model'),
  data: path('data', 'prompts.jsonl'),
  seed,
  maxLength: limits.prompt,
  maxNewTokens: limits.newTokens,
  iterations: size.ppo.iterations,
  batchSize: size.ppo.batch,
  miniBatchSize: size.ppo.batch / 2,
  updateEpochs: 2,
  learningRate: 6e-4,
  schedule: 'linear' as const,
  warmupSteps: Math.min(10, size.ppo.iterations),
  minLearningRateRatio: 0.2,
  saveEvery: 0,
});

/** One run of an online method; what its completions are worth on gold goes to `<name>-gold.jsonl`. */
export async function trainOnlineStage(
  pipeline: Pipeline,
  name: string,
  method: OnlineMethod,
  settings: OnlineTrainingConfig,
): Promise<Record<string, number>> {
  const output = pipeline.path(name);
  const config = { ...settings, output, ...startOrResume(output) };
  const gold = openGoldLog(pipeline.path(`${name}-gold.jsonl`), pipeline.testbed);
  const summary = await runOnlineTraining(method, config, {
    ...runContext(pipeline, name, config),
    onRollouts: gold.record,
  });
  if (summary.outcome === 'interrupted') throw new Interrupted();
  return lasting(summary.last);
}

/** Goes on from a checkpoint; without one, whatever an earlier run left is replaced. */
function startOrResume(output: string): { readonly resume: boolean; readonly overwrite: boolean } {
  const resume = existsSync(output) && readdirSync(output).some((name) => name.startsWith('checkpoint-'));
  return { resume, overwrite: !resume };
}

function runContext({ options }: Pipeline, name: string, config: object) {
  const { engine, clock, interrupted, observer } = options;
  return {
    engine,
    clock,
    interrupted,
    configText: stringify(config),
    observer: {
      ...observer,
      stage: (stage: string, ...rest: [number, number, Readonly<Record<string, number>>?]) =>
        observer.stage(stage === 'train' ? name : `${name}: ${stage}`, ...rest),
    },
  };
}

/** Figures that depend on the seed alone: no times. */
function lasting(record: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(record).filter(([name]) => !/^time\/|per_second$|^eps$/.test(name)),
  );
}

/** Removes what an earlier quickstart left, and nothing else. */
function clear(folder: string): void {
  const own = [
    ...stageNames,
    ...['base', 'data', 'stages', 'evaluation', '.cache'],
    ...['ppo-gold.jsonl', 'summary.json', 'report.html'],
  ];
  for (const name of own) rmSync(join(folder, name), { recursive: true, force: true });
}
