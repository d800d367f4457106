/** The quickstart: a tokenizer and a model of about a million parameters from nothing, then DPO towards politeness. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { createRng, type Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator } from '../../generate/index.ts';
import { dpo, config as dpoConfig } from '../../methods/preference/dpo.ts';
import { sft, config as sftConfig } from '../../methods/supervised/sft.ts';
import { buildModel, loadModel, saveModel } from '../../models/index.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import type { TrainMethod } from '../../parts/method.ts';
import type { TrainerConfig } from '../../parts/trainer/config.ts';
import { type RunObserver, runTraining } from '../../parts/trainer/run-training.ts';
import type { MetricRecord } from '../../parts/trainer/trainer.ts';
import { loadTokenizer, trainBpe } from '../../tokenizer/index.ts';
import { demonstrations, endsPolitely, makeReply, preferences } from './corpus.ts';

export interface QuickstartOptions {
  readonly folder: string;
  readonly seed: number;
  /** Held-out questions answered before and after. */
  readonly questions: number;
  /** Optimizer steps of the two stages; fewer for a quick test. */
  readonly steps: { readonly sft: number; readonly dpo: number };
  readonly engine: Engine;
  readonly clock: () => number;
  readonly interrupted: () => boolean;
  readonly observer: RunObserver;
}

export interface Answer {
  readonly prompt: string;
  readonly before: string;
  readonly after: string;
}

export interface QuickstartResult {
  readonly parameters: number;
  readonly answers: readonly Answer[];
  /** Share of answers that end politely. */
  readonly politeBefore: number;
  readonly politeAfter: number;
  /** Share of answers whose first sentence is the right kind of answer: it repeats the thing asked about. */
  readonly onTopicBefore: number;
  readonly onTopicAfter: number;
  readonly sft: MetricRecord;
  readonly dpo: MetricRecord;
  readonly milliseconds: number;
  /** The trained model's folder; undefined when the user stopped the run. */
  readonly model: string | undefined;
}

const architecture = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  max_position_embeddings: 128,
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  initializer_range: 0.02,
  tie_word_embeddings: true,
};

const sizes = { vocabulary: 512, demonstrations: 6000, preferences: 800, heldOut: 100 } as const;

/** Runs every stage into `folder`. Data, models, metrics and configurations stay there to look at. */
export async function runQuickstart(options: QuickstartOptions): Promise<QuickstartResult | undefined> {
  const { folder, clock, observer } = options;
  const started = clock();
  const rng = createRng(options.seed);
  mkdirSync(folder, { recursive: true });
  const texts = demonstrations(rng.split('demonstrations'), sizes.demonstrations);
  const files = {
    demonstrations: writeRows(folder, 'demonstrations.jsonl', texts),
    preferences: writeRows(
      folder,
      'preferences.jsonl',
      preferences(rng.split('preferences'), sizes.preferences),
    ),
    heldOut: writeRows(
      folder,
      'preferences-held-out.jsonl',
      preferences(rng.split('held-out'), sizes.heldOut),
    ),
  };

  const tokenizer = trainBpe(
    texts.map(({ prompt, completion }) => prompt + completion),
    { vocabSize: sizes.vocabulary, specialTokens: { bos: '<s>', eos: '</s>' } },
  );
  const modelConfig = {
    ...architecture,
    vocab_size: tokenizer.vocabSize,
    bos_token_id: tokenizer.bosId,
    eos_token_id: tokenizer.eosId,
  };
  const model = buildModel(modelConfig);
  const parameters = allocateParameters(model.parameters);
  initialize(parameters, rng.split('initialize'));
  const base = join(folder, 'base');
  saveModel(base, { config: modelConfig, parameters, files: Object.fromEntries(tokenizer.files) });

  const common = { overwrite: true, seed: options.seed, maxLength: 96, logEvery: 20 };
  const trained = await runStage(
    sft as unknown as TrainMethod,
    'sft',
    options,
    sftConfig.parse({
      ...common,
      model: base,
      data: files.demonstrations,
      output: join(folder, 'sft'),
      batchSize: 32,
      maxSteps: options.steps.sft,
      learningRate: 3e-3,
      schedule: 'cosine',
      warmupSteps: Math.min(20, options.steps.sft),
    }),
  );
  if (trained === undefined) return undefined;
  const tuned = await runStage(
    dpo as unknown as TrainMethod,
    'dpo',
    options,
    dpoConfig.parse({
      ...common,
      model: trained.saved,
      data: files.preferences,
      evaluationData: files.heldOut,
      output: join(folder, 'dpo'),
      batchSize: 16,
      evaluationBatchSize: 32,
      maxSteps: options.steps.dpo,
      // A small beta lets the margin grow to tens of nats, which breaks a model this small: its words fall apart.
      learningRate: 5e-5,
      beta: 2,
    }),
  );
  if (tuned === undefined) return undefined;

  const questions = Array.from({ length: options.questions }, (_, i) => makeReply(rng.split('questions'), i));
  const before = await answer(
    trained.saved,
    questions.map(({ prompt }) => prompt),
    rng.split('sample'),
    options,
  );
  const after = await answer(
    tuned.saved,
    questions.map(({ prompt }) => prompt),
    rng.split('sample'),
    options,
  );
  const share = (list: readonly string[], test: (reply: string, index: number) => boolean): number =>
    list.filter(test).length / list.length;
  const onTopic = (reply: string, index: number): boolean =>
    reply.trimStart().startsWith(questions[index]!.body.slice(0, 4));
  observer.note(`files in ${folder}`);
  return {
    parameters: parameters.count,
    answers: questions.map(({ prompt }, i) => ({ prompt, before: before[i]!, after: after[i]! })),
    politeBefore: share(before, endsPolitely),
    politeAfter: share(after, endsPolitely),
    onTopicBefore: share(before, onTopic),
    onTopicAfter: share(after, onTopic),
    sft: trained.last,
    dpo: tuned.last,
    milliseconds: clock() - started,
    model: tuned.saved,
  };
}

/** One training stage; undefined when the user stopped it. */
async function runStage(
  method: TrainMethod,
  name: string,
  options: QuickstartOptions,
  config: TrainerConfig,
) {
  const { engine, clock, interrupted, observer } = options;
  const summary = await runTraining(method, config, {
    engine,
    clock,
    interrupted,
    configText: stringify(config),
    observer: {
      ...observer,
      stage: (stage, ...rest) => observer.stage(stage === 'train' ? name : stage, ...rest),
    },
  });
  return summary.outcome === 'done' ? summary : undefined;
}

/** Sampled answers of a saved model at temperature 1. */
async function answer(
  folder: string,
  prompts: readonly string[],
  rng: Rng,
  { engine, clock }: QuickstartOptions,
): Promise<string[]> {
  const { model, parameters } = loadModel(folder);
  const tokenizer = await loadTokenizer(folder);
  const generator = createGenerator({ engine, model, parameters, clock });
  try {
    const completions = await generator.generate(
      prompts.map((prompt) => tokenizer.encode(prompt)),
      {
        temperature: 1,
        topK: 0,
        topP: 1,
        maxNewTokens: 64,
        stopIds: new Set([tokenizer.eosId!]),
        rng,
        batchSize: 64,
      },
    );
    return completions.map(({ ids }) => tokenizer.decode(ids));
  } finally {
    generator.dispose();
  }
}

function writeRows(folder: string, name: string, rows: readonly object[]): string {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}
