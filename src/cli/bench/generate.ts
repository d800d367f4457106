/** Generation by random models of about 1 and 7 million parameters: tokens per second, time to the first token, share outside the engine. */
import { createRng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import { createGenerator, type Generator } from '../../generate/generate.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize } from '../../nn/parameters.ts';
import { benchModels } from './engine.ts';

export interface GenerateCase {
  readonly params: number;
  readonly batch: number;
  /** Of calls with unchanged weights, prompts included. */
  readonly tokensPerSecond: number;
  /** A call that asks for one token per row: the prompts alone. */
  readonly msToFirstToken: number;
  /** Share of the time spent outside the engine. */
  readonly outsideEngineShare: number;
}

export interface GenerateBenchOptions {
  readonly engine: Engine;
  /** Milliseconds. */
  readonly clock: () => number;
  /** Timed calls per case; the median of each figure is reported. */
  readonly repeats: number;
  readonly onStage: (name: string) => void;
}

const batches = [1, 8, 32, 128];
const [promptTokens, newTokens] = [16, 64];

/** Runs every model at every batch size: prompts of 16 tokens, 64 new tokens each, sampled at temperature 1. */
export async function benchGenerate(options: GenerateBenchOptions): Promise<{ cases: GenerateCase[] }> {
  const cases: GenerateCase[] = [];
  for (const { name, config } of benchModels) {
    const model = buildModel(config);
    const parameters = allocateParameters(model.parameters);
    initialize(parameters, createRng(0));
    for (const batch of batches) {
      options.onStage(`generate, ${name}, batch ${batch}`);
      const generator = createGenerator({ ...options, model, parameters });
      cases.push({ params: parameters.count, batch, ...(await measure(generator, model, batch, options)) });
      generator.dispose();
    }
  }
  return { cases };
}

async function measure(
  generator: Generator,
  model: CausalModel,
  batch: number,
  { clock, repeats }: GenerateBenchOptions,
): Promise<Omit<GenerateCase, 'params' | 'batch'>> {
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
  // The first call compiles.
  await call(newTokens);
  const whole: { ms: number; outside: number }[] = [];
  const first: number[] = [];
  for (let i = 0; i < repeats; i++) {
    whole.push(await call(newTokens));
    first.push((await call(1)).ms);
  }
  return {
    tokensPerSecond: (1000 * batch * newTokens) / median(whole.map(({ ms }) => ms)),
    msToFirstToken: median(first),
    outsideEngineShare: median(whole.map(({ outside }) => outside)),
  };
}

/** The middle value, the upper one of two. */
function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
