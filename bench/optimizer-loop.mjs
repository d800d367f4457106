/**
 * Gradient norm plus AdamW over flat vectors, four ways, interleaved: best of several runs, as a Markdown table.
 * Figures and choice: docs/decisions/optimizer-loop.md.
 *
 *     npm run build && node bench/optimizer-loop.mjs [parameters in millions …]
 */
import { sharedVector } from '../dist/core/index.js';
import { createOrtEngine } from '../dist/engine/ort/ort-engine.js';
import { add, div, mul, sqrt, sub } from '../dist/graph/ops/elementwise.js';
import { sum } from '../dist/graph/ops/reduce.js';
import { trace } from '../dist/graph/program.js';
import { adamW, globalNorm } from '../dist/optim/index.js';

const sizes = process.argv.slice(2).map((millions) => Number(millions) * 1e6);
/** Bytes read and written per parameter: g for the norm; g, w, m, v read and w, m, v written for the update. */
const BYTES = { norm: 4, update: 28 };
const update = { learningRate: 1e-4, gradientScale: 0.5 };
const options = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 };

/** Plain loops with float64 arithmetic. */
function hostLoop(size) {
  const [weights, gradients, first, second] = vectors(size, () => ordinary(size));
  let steps = 0;
  return {
    norm() {
      let total = 0;
      for (let i = 0; i < size; i++) total += gradients[i] * gradients[i];
      return Math.sqrt(total);
    },
    update() {
      steps++;
      const { beta1, beta2, epsilon } = options;
      const rate = update.learningRate / (1 - beta1 ** steps);
      const root = 1 / Math.sqrt(1 - beta2 ** steps);
      const keep = 1 - update.learningRate * options.weightDecay;
      for (let i = 0; i < size; i++) {
        const g = gradients[i] * update.gradientScale;
        const m = beta1 * first[i] + (1 - beta1) * g;
        const v = beta2 * second[i] + (1 - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        weights[i] = weights[i] * keep - (rate * m) / (Math.sqrt(v) * root + epsilon);
      }
    },
  };
}

/** The product's kernels; `make` decides whether they work in place or through scratch memory. */
function kernels(size, make, inPlace) {
  const [weights, gradients] = vectors(size, make).slice(0, 2);
  const optimizer = adamW({ size, ...options, ...(inPlace ? { beside: weights } : {}) });
  return {
    norm: () => globalNorm(gradients),
    update: () => optimizer.step({ weights, gradients, ...update }),
  };
}

/** The same formulas as programs of whole-vector operations on all cores; results go to a second set of vectors. */
async function ortElementwise(size) {
  const [w, g, m, v] = vectors(size, () => ordinary(size));
  const type = { dtype: 'float32', shape: [size] };
  const scalars = ['scale', 'beta1', 'keep1', 'beta2', 'keep2', 'decay', 'rate', 'root', 'epsilon'];
  const scalarTypes = Object.fromEntries(scalars.map((name) => [name, { dtype: 'float32', shape: [] }]));
  const step = trace({ w: type, g: type, m: type, v: type, ...scalarTypes }, (x) => {
    const scaled = mul(x.g, x.scale);
    const first = add(mul(x.m, x.beta1), mul(scaled, x.keep1));
    const second = add(mul(x.v, x.beta2), mul(mul(scaled, scaled), x.keep2));
    const change = div(mul(first, x.rate), add(mul(sqrt(second), x.root), x.epsilon));
    return { weights: sub(x.w, add(mul(x.w, x.decay), change)), first, second };
  });
  const squares = trace({ g: type }, (x) => ({ total: sum(mul(x.g, x.g)) }));
  const engine = createOrtEngine();
  const values = [0.5, 0.9, 0.1, 0.999, 0.001, 1e-6, 1e-4, 1, 1e-8];
  const bound = (await engine.compile(step)).bind(
    {
      w,
      g,
      m,
      v,
      ...Object.fromEntries(scalars.map((name, index) => [name, Float32Array.of(values[index])])),
    },
    { weights: ordinary(size), first: ordinary(size), second: ordinary(size) },
  );
  const norm = (await engine.compile(squares)).bind({ g });
  return {
    norm: () => norm.runSync(),
    update: () => bound.runSync(),
    dispose: () => engine.dispose(),
  };
}

function ordinary(size) {
  return new Float32Array(new SharedArrayBuffer(4 * size));
}

/** Weights, gradients and two moments. */
function vectors(size, make) {
  const first = make();
  const all = [first, make(first), make(first), make(first)];
  for (let i = 0; i < size; i++) {
    all[0][i] = Math.sin(i);
    all[1][i] = Math.cos(i) * 1e-3;
  }
  return all;
}

for (const size of sizes.length > 0 ? sizes : [1e6, 7e6, 135e6]) {
  const ways = {
    'host loop': hostLoop(size),
    'ORT elementwise': await ortElementwise(size),
    'WASM SIMD through scratch': kernels(size, () => ordinary(size), false),
    'WASM SIMD in place': kernels(size, (beside) => sharedVector(size, beside), true),
  };
  const best = Object.fromEntries(
    Object.keys(ways).map((name) => [name, { norm: Infinity, update: Infinity }]),
  );
  for (let round = 0; round < (size > 5e7 ? 6 : 25); round++) {
    for (const [name, way] of Object.entries(ways)) {
      for (const part of ['norm', 'update']) {
        const started = performance.now();
        way[part]();
        best[name][part] = Math.min(best[name][part], performance.now() - started);
      }
    }
  }
  for (const way of Object.values(ways)) way.dispose?.();
  process.stdout.write(
    `\n| ${size / 1e6} M parameters | norm ms (GB/s) | AdamW ms (GB/s) | both ms |\n|---|---|---|---|\n`,
  );
  for (const [name, { norm, update: step }] of Object.entries(best)) {
    const cell = (part, ms) => `${ms.toFixed(1)} (${((size * BYTES[part]) / ms / 1e6).toFixed(1)})`;
    process.stdout.write(
      `| ${name} | ${cell('norm', norm)} | ${cell('update', step)} | ${(norm + step).toFixed(1)} |\n`,
    );
  }
}
