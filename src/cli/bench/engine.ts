/** Training step and decode against the matrix-product rate of the same engine in the same run. */
import { createRng } from '../../core/rng.ts';
import type { Binding, Engine } from '../../engine/engine.ts';
import { createGenerator } from '../../generate/generate.ts';
import { matmul } from '../../graph/ops/matmul.ts';
import { trace } from '../../graph/program.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import { buildModel } from '../../models/registry.ts';
import { allocateParameters, initialize, type Parameters } from '../../nn/parameters.ts';
import { supervisedStep } from '../../parts/step/supervised.ts';
import { stepProgram } from '../../parts/trainer/programs.ts';
import { median } from './median.ts';
import { benchModels } from './models.ts';

export interface TrainFigure {
  readonly params: number;
  readonly batch: number;
  readonly length: number;
  /** Median of a forward and backward pass. */
  readonly ms: number;
  readonly gflops: number;
  /** gflops ÷ matmulGflops of the interleaved product. */
  readonly ratio: number;
}

export interface DecodeFigure {
  readonly params: number;
  readonly batch: number;
  readonly tokensPerSecond: number;
  /** Share of the time spent outside the engine. */
  readonly outsideEngineShare: number;
}

export interface EngineBench {
  readonly matmulGflops: number;
  readonly train: readonly TrainFigure[];
  readonly decode: readonly DecodeFigure[];
  readonly peakMemoryBytes: number;
}

export interface BenchOptions {
  readonly engine: Engine;
  /** Milliseconds. */
  readonly clock: () => number;
  readonly repeats: number;
  readonly peakMemory: () => number;
  readonly onStage: (name: string) => void;
}

const [batch, length] = [16, 128];

/**
 * Floating-point operations of one training step: 6 per matrix parameter and token (2 forward, 4 backward), and
 * 12·L·H·E·T per token for attention scores and mixing over the full T × T square, as is customary, although a causal
 * model needs half of it and computes 5/8 to all of it here. The input embedding is a look-up and counts only where it is
 * also the output head.
 */
export function trainingFlops(model: CausalModel, layersHeadsSize: number, B: number, T: number): number {
  return B * T * (6 * model.matrixParameters + 12 * layersHeadsSize * T);
}

/** Runs the benchmark. Each step's time is divided by that of products run directly before and after it. */
export async function benchEngine(options: BenchOptions): Promise<EngineBench> {
  const { engine, onStage } = options;
  onStage('matrix product');
  const product = await matrixProduct(engine);
  time(product, options.clock, 5);
  const train: TrainFigure[] = [];
  const decode: DecodeFigure[] = [];
  const rates: number[] = [];
  for (const name of ['1M', '7M'] as const) {
    const config = benchModels[name];
    const model = buildModel(config);
    const parameters = allocateParameters(model.parameters);
    initialize(parameters, createRng(0));
    onStage(`training step, ${name}`);
    const figure = await trainFigure(model, parameters, config, product, rates, options);
    train.push(figure);
    for (const rows of [1, 8, 32]) {
      onStage(`decode, ${name}, batch ${rows}`);
      decode.push(await decodeFigure(model, parameters, rows, options));
    }
  }
  product.dispose();
  return { matmulGflops: median(rates), train, decode, peakMemoryBytes: options.peakMemory() };
}

/** GFLOP/s of the product, best of ten. */
export async function matrixProductRate(engine: Engine, clock: () => number): Promise<number> {
  const product = await matrixProduct(engine);
  const ms = time(product, clock, 10);
  product.dispose();
  return (2 * side ** 3) / ms / 1e6;
}

const side = 1024;

async function matrixProduct(engine: Engine): Promise<Binding> {
  const square = { dtype: 'float32', shape: [side, side] } as const;
  const executable = await engine.compile(
    trace({ a: square, b: square }, ({ a, b }) => ({ c: matmul(a, b) })),
    { name: 'matmul' },
  );
  const random = (stream: string): Float32Array => {
    const data = new Float32Array(side * side);
    createRng(0).split(stream).fillNormal(data, 1);
    return data;
  };
  return executable.bind({ a: random('a'), b: random('b') });
}

/** Least time of `count` runs, ms. */
function time(binding: Binding, clock: () => number, count: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const start = clock();
    binding.runSync();
    best = Math.min(best, clock() - start);
  }
  return best;
}

async function trainFigure(
  model: CausalModel,
  parameters: Parameters,
  config: Readonly<Record<string, unknown>>,
  product: Binding,
  rates: number[],
  { engine, clock, repeats }: BenchOptions,
): Promise<TrainFigure> {
  const step = supervisedStep({ aggregation: 'token-mean', packed: false });
  const program = stepProgram(model, step, batch, length, { withGradients: true, rematerialize: false });
  const executable = await engine.compile(program, { name: 'training step' });
  const rng = createRng(1);
  const examples = Array.from({ length: batch }, (_, row) => ({
    ids: Array.from({ length: length + 1 }, (_, t) => rng.integer(model.vocabSize, row, t)),
    mask: new Array<number>(length + 1).fill(1),
  }));
  const gradients = parameters.like();
  const binding = executable.bind(
    {
      ...parameters.arrays(),
      ...step.arrays(examples, batch, length),
      scale: Float32Array.of(1 / (batch * length)),
    },
    Object.fromEntries(Object.entries(gradients.arrays()).map(([name, view]) => [`gradient:${name}`, view])),
  );
  time(binding, clock, 3);
  const heads = Number(config.num_attention_heads) * Number(config.num_hidden_layers) * model.headSize;
  const flops = trainingFlops(model, heads, batch, length);
  const samples = Array.from({ length: repeats }, () => {
    const rate = (2 * side ** 3) / time(product, clock, 3) / 1e6;
    rates.push(rate);
    const start = clock();
    binding.runSync();
    const ms = clock() - start;
    return { ms, ratio: flops / ms / 1e6 / rate };
  });
  binding.dispose();
  executable.dispose();
  const ms = median(samples.map((sample) => sample.ms));
  return {
    params: parameters.count,
    batch,
    length,
    ms,
    gflops: flops / ms / 1e6,
    ratio: median(samples.map((sample) => sample.ratio)),
  };
}

async function decodeFigure(
  model: CausalModel,
  parameters: Parameters,
  rows: number,
  { engine, clock }: BenchOptions,
): Promise<DecodeFigure> {
  const generator = createGenerator({ engine, model, parameters, clock });
  const rng = createRng(2);
  const prompts = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: 16 }, (_, t) => rng.integer(model.vocabSize, row, t)),
  );
  const options = { temperature: 1, topK: 0, topP: 1, stopIds: new Set<number>(), rng, batchSize: rows };
  await generator.generate(prompts, { ...options, maxNewTokens: 64 });
  const before = { ...generator.time };
  await generator.generate(prompts, { ...options, maxNewTokens: 64 });
  const total = generator.time.total - before.total;
  const inside = generator.time.engine - before.engine;
  generator.dispose();
  return {
    params: parameters.count,
    batch: rows,
    tokensPerSecond: (1000 * rows * 64) / total,
    outsideEngineShare: (total - inside) / total,
  };
}
