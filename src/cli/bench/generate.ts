/** Generation by models with random weights: tokens per second, time to the first token, share outside the engine, and peers. */
import { createRng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator, type Generator } from '../../generate/generate.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize, type Parameters } from '../../nn/parameters.ts';
import { type MachineLimits, machineLimits } from './limits.ts';
import { median } from './median.ts';
import { type BenchSize, benchModels } from './models.ts';

export interface GenerateCase {
  readonly params: number;
  readonly batch: number;
  /** Of calls with unchanged weights, prompts included. */
  readonly tokensPerSecond: number;
  /** A call that asks for one token per row: the prompts alone. */
  readonly msToFirstToken: number;
  /** Share of the time spent outside the engine. */
  readonly outsideEngineShare: number;
  /** 2 operations per matrix parameter and token, prompts included: the useful ones. */
  readonly gflops: number;
  /** Bytes of the weights, once per step of the batch. */
  readonly gigabytesPerSecond: number;
  /** Tokens per second of others on the same weights, prompts and lengths, by their name. */
  readonly peer: Readonly<Record<string, number>>;
}

export interface GenerateBench {
  /** Of the machine, measured in the same run. */
  readonly limits: MachineLimits;
  readonly cases: readonly GenerateCase[];
}

/** What a peer is to measure. */
export interface PeerTask {
  readonly config: Readonly<Record<string, unknown>>;
  readonly parameters: Parameters;
  readonly batches: readonly number[];
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly repeats: number;
}

/** A peer's name, and its tokens per second by batch size. */
export interface PeerFigures {
  readonly name: string;
  readonly tokensPerSecond: Readonly<Record<string, number>>;
}

export interface GenerateBenchOptions {
  readonly engine: Engine;
  readonly sizes: readonly BenchSize[];
  readonly batches: readonly number[];
  /** Milliseconds. */
  readonly clock: () => number;
  /** Timed calls per case; the median of each figure is reported. */
  readonly repeats: number;
  readonly onStage: (name: string) => void;
  /** Measures the same work by others. */
  readonly runPeers: (task: PeerTask) => Promise<readonly PeerFigures[]>;
}

const [promptTokens, newTokens] = [16, 64];

/** Runs every model at every batch size: prompts of 16 tokens, 64 new tokens each, sampled at temperature 1. */
export async function benchGenerate(options: GenerateBenchOptions): Promise<GenerateBench> {
  const { engine, sizes, batches, clock, repeats, onStage, runPeers } = options;
  onStage('limits of the machine');
  const limits = await machineLimits(engine, clock);
  const cases: GenerateCase[] = [];
  for (const size of sizes) {
    const config = benchModels[size];
    const model = buildModel(config);
    const parameters = allocateParameters(model.parameters);
    initialize(parameters, createRng(0));
    onStage(`${size}, peers`);
    const task = { config, parameters, batches, promptTokens, newTokens, repeats };
    const peers = await runPeers(task);
    for (const batch of batches) {
      onStage(`${size}, batch ${batch}`);
      const generator = createGenerator({ ...options, model, parameters, frozen: true });
      const figures = await measure(generator, model, batch, options);
      generator.dispose();
      const steps = figures.tokensPerSecond / batch;
      cases.push({
        ...{ params: parameters.count, batch, ...figures },
        gflops: (figures.tokensPerSecond * (1 + promptTokens / newTokens) * 2 * model.matrixParameters) / 1e9,
        gigabytesPerSecond: (steps * 4 * parameters.count) / 1e9,
        peer: Object.fromEntries(
          peers.flatMap(({ name, tokensPerSecond }) => {
            const rate = tokensPerSecond[batch];
            return rate === undefined ? [] : [[name, rate]];
          }),
        ),
      });
    }
  }
  return { limits, cases };
}

async function measure(
  generator: Generator,
  model: CausalModel,
  batch: number,
  { clock, repeats }: GenerateBenchOptions,
): Promise<Pick<GenerateCase, 'tokensPerSecond' | 'msToFirstToken' | 'outsideEngineShare'>> {
  const rng = createRng(2);
  const prompts = Array.from({ length: batch }, (_, row) =>
    Array.from({ length: promptTokens }, (_, t) => rng.integer(model.vocabSize, row, t)),
  );
  const call = async (maxNewTokens: number): Promise<{ ms: number; outside: number }> => {
    const before = generator.time.engine;
    const start = clock();
    await generator.generate(prompts, {
      temperature: 1,
      topK: 0,
      topP: 1,
      stopIds: new Set(),
      rng,
      batchSize: batch,
      maxNewTokens,
    });
    const ms = clock() - start;
    return { ms, outside: (ms - (generator.time.engine - before)) / ms };
  };
  // The first call compiles programs; those after it, until two seconds are over, warm heed's own code.
  const cold = clock();
  do await call(newTokens);
  while (clock() - cold < 2000);
  const whole: { ms: number; outside: number }[] = [];
  for (let i = 0; i < repeats; i++) whole.push(await call(newTokens));
  const first: number[] = [];
  for (let i = 0; i < repeats; i++) first.push((await call(1)).ms);
  return {
    tokensPerSecond: (1000 * batch * newTokens) / median(whole.map(({ ms }) => ms)),
    msToFirstToken: median(first),
    outsideEngineShare: median(whole.map(({ outside }) => outside)),
  };
}
