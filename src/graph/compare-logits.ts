/** Numbers per token from the logits of two models, without ever holding a [tokens, vocabulary] matrix. */
import { ConfigError, ShapeError } from '../core/errors.ts';
import { checkShapes, formatShape } from '../core/shapes.ts';
import { customGradient, vjp } from './gradient.ts';
import { after, stopGradient } from './ops/control.ts';
import { add } from './ops/elementwise.ts';
import { concat, sliceAxis } from './ops/shape.ts';
import type { Tensor } from './tensor.ts';
import { chunkLogits, defaultChunk } from './token-log-probs.ts';

/** What a model makes logits of. */
export interface LogitSource {
  /** [N, D] final hidden states */
  readonly hidden: Tensor;
  /** [V, D] output embedding */
  readonly head: Tensor;
  /** Logits are bent to lie within ±cap; not bent when left out. */
  readonly cap?: number | undefined;
}

/** What is read off the logits [n, V] of both models; each row of the results is about its own token. */
export interface LogitComparison<K extends string> {
  /** Carries a gradient to the first model, [n]. */
  loss(first: Tensor, second: Tensor): Tensor;
  /** Without a gradient, each [n]. */
  figures?(first: Tensor, second: Tensor): Readonly<Record<K, Tensor>>;
}

export interface CompareLogitsOptions {
  /** Tokens per chunk. Default: as many as keep all that a chunk needs near 64 MiB, at least 16. */
  readonly chunk?: number;
  /** Divides the logits of both; 1 when left out. */
  readonly temperature?: number;
}

/** Matrices [n, V] that a chunk is taken to need at once. */
const matricesPerChunk = 8;

/**
 * Compares the logits of two models by chunks of tokens. Those of a chunk are computed again for the gradient, and chunks run
 * strictly one after the other, forward and backward, so that memory is one chunk's, whatever the number of tokens. Price: one more
 * product with each head per chunk when there is a gradient. The second model is a constant.
 *
 * @param first hidden [N, D], head [V, D]
 * @param second hidden [N, E], head [V, E]: another model with the same vocabulary
 * @returns loss [N], and figures, each [N]
 * @throws ShapeError when the shapes disagree or there is no token; ConfigError on a chunk below 1 or a temperature not above 0
 */
export function compareLogits<K extends string = never>(
  first: LogitSource,
  second: LogitSource,
  comparison: LogitComparison<K>,
  options: CompareLogitsOptions = {},
): { readonly loss: Tensor; readonly figures: Readonly<Record<K, Tensor>> } {
  const { N, V } = checkShapes('compareLogits', {
    'first.hidden': [first.hidden, 'N D'],
    'first.head': [first.head, 'V D'],
    'second.hidden': [second.hidden, 'N E'],
    'second.head': [second.head, 'V E'],
  }) as Record<'N' | 'V', number>;
  if (N === 0) {
    throw new ShapeError({
      where: 'compareLogits(first.hidden)',
      expected: 'at least one token',
      received: formatShape(first.hidden.shape),
    });
  }
  const { chunk = defaultChunk(matricesPerChunk * V), temperature = 1 } = options;
  requireOption('chunk', 'an integer of at least 1', chunk, Number.isInteger(chunk) && chunk >= 1);
  requireOption('temperature', 'a number above 0', temperature, temperature > 0);
  const spans = Array.from({ length: Math.ceil(N / chunk) }, (_, index) => ({
    start: index * chunk,
    end: Math.min((index + 1) * chunk, N),
  }));
  const { hidden: hidden2, head: head2 } = second;
  /** A chunk of the first model's states with the logits of both, not computed before `done` are. */
  const logitsAt = (
    [hidden1, head1]: readonly [Tensor, Tensor],
    { start, end }: (typeof spans)[number],
    done: readonly Tensor[],
  ) => {
    const rows = after(sliceAxis(hidden1, 0, start, end), done);
    const others = after(sliceAxis(hidden2, 0, start, end), done);
    return {
      rows,
      logits1: chunkLogits(rows, head1, { temperature, cap: first.cap }),
      logits2: chunkLogits(others, head2, { temperature, cap: second.cap }),
    };
  };

  const parts: Readonly<Record<K, Tensor>>[] = [];
  const rule = customGradient({
    forward(hidden1, head1) {
      const losses: Tensor[] = [];
      let done: readonly Tensor[] = [];
      for (const span of spans) {
        const { logits1, logits2 } = logitsAt([hidden1!, head1!], span, done);
        const loss = comparison.loss(logits1, logits2);
        const figures = comparison.figures?.(logits1, logits2) ?? ({} as Record<K, Tensor>);
        losses.push(loss);
        parts.push(figures);
        done = [loss, ...Object.values<Tensor>(figures)];
      }
      return [concat(losses, 0)];
    },
    backward([hidden1, head1], _outputs, [g]) {
      const dRows: Tensor[] = [];
      let dHead: Tensor | undefined;
      let done: readonly Tensor[] = [g!];
      for (const span of spans) {
        const { rows, logits1, logits2 } = logitsAt([hidden1!, head1!], span, done);
        const cotangent = sliceAxis(g!, 0, span.start, span.end);
        const [own, ofHead] = vjp([comparison.loss(logits1, logits2)], [cotangent], [rows, head1!]);
        dRows.push(own!);
        dHead = dHead === undefined ? ofHead! : add(dHead, ofHead!);
        done = [own!, dHead];
      }
      return [concat(dRows, 0), dHead];
    },
  });
  const [loss] = rule(first.hidden, first.head);
  const names = Object.keys(parts[0]!) as K[];
  const joined = (name: K): Tensor =>
    concat(
      parts.map((figures) => stopGradient(figures[name])),
      0,
    );
  return {
    loss: loss!,
    figures: Object.fromEntries(names.map((name) => [name, joined(name)])) as Record<K, Tensor>,
  };
}

function requireOption(name: string, expected: string, received: number, fits: boolean): void {
  if (fits) return;
  throw new ConfigError({ where: `compareLogits(${name})`, expected, received: String(received) });
}
