/** How far a student's predictions are from its teacher's, over the whole vocabulary. */
import { ConfigError } from '../../core/errors.ts';
import { checkShapes } from '../../core/shapes.ts';
import { customGradient } from '../../graph/gradient.ts';
import { add, mul, neg, sub } from '../../graph/ops/elementwise.ts';
import { logSoftmax, softmax, sum } from '../../graph/ops/reduce.ts';
import { reshape } from '../../graph/ops/shape.ts';
import { softplus } from '../../graph/stable.ts';
import type { Tensor } from '../../graph/tensor.ts';

/**
 * Generalised Jensen–Shannon divergence of p = softmax(student) and q = softmax(teacher) per token, with m = βq + (1 − β)p:
 *
 * - 0 < β < 1: β·KL(q‖m) + (1 − β)·KL(p‖m), at most log 2; at ½ the Jensen–Shannon divergence
 * - β = 0: KL(q‖p), forward: the student covers all that the teacher does
 * - β = 1: KL(p‖q), reverse: the student keeps to what the teacher does
 *
 * The ends are not limits of the middle, which goes to 0 there: divided by β, or by 1 − β, it goes to them.
 * The slope by a logit of the student is p·(s − Σ p·s), with s = (1 − β)·log(p/m) in the middle and log(p/q) at β = 1; p − q at
 * β = 0. The teacher gets none.
 *
 * @param student logits [N, V]
 * @param teacher logits [N, V]
 * @param beta between 0 and 1
 * @returns [N], nats; 0 where the two agree
 * @throws ShapeError when the shapes disagree; ConfigError on a beta out of range
 * @source Agarwal et al. 2024 (arXiv 2306.13649), section 2 and eq. 1; the ends as TRL's `generalized_jsd_loss` has them
 * @example p = [0.5, 0.5], q = [0.9, 0.1]: 0.3681 at β = 0, 0.1017 at ½, 0.5108 at 1
 */
export function generalizedJsd(student: Tensor, teacher: Tensor, beta: number): Tensor {
  checkShapes('generalizedJsd', { student: [student, 'N V'], teacher: [teacher, 'N V'] });
  if (!(beta >= 0 && beta <= 1)) {
    throw new ConfigError({
      where: 'generalizedJsd(beta)',
      expected: 'a number between 0 and 1',
      received: String(beta),
    });
  }
  const rule = customGradient({
    forward(logits) {
      const { p, q, overP, overQ } = logRatios(logits!, teacher, beta);
      return [
        rowSums(
          overP === undefined
            ? mul(q, overQ!)
            : overQ === undefined
              ? mul(p, overP)
              : add(mul(p, overP), mul(q, overQ)),
        ),
      ];
    },
    backward([logits], _outputs, [g]) {
      const { p, q, overP } = logRatios(logits!, teacher, beta);
      const slope = overP === undefined ? sub(p, q) : mul(p, sub(overP, column(rowSums(mul(p, overP)))));
      return [mul(slope, column(g!))];
    },
  });
  return rule(student)[0]!;
}

/** What p and what q is multiplied by in the divergence; undefined for the one that it does not average over. */
function logRatios(student: Tensor, teacher: Tensor, beta: number) {
  const [p, q] = [softmax(student), softmax(teacher)];
  const difference = sub(logSoftmax(student), logSoftmax(teacher)); // log p − log q
  if (beta === 0) return { p, q, overP: undefined, overQ: neg(difference) };
  if (beta === 1) return { p, q, overP: difference, overQ: undefined };
  // d = log βq − log (1 − β)p: then m = (1 − β)p·(1 + exp(d)) = βq·(1 + exp(−d)), and no logarithm sees a rounded sum.
  const d = sub(Math.log(beta) - Math.log1p(-beta), difference);
  return {
    p,
    q,
    overP: mul(add(softplus(d), Math.log1p(-beta)), beta - 1),
    overQ: mul(add(softplus(neg(d)), Math.log(beta)), -beta),
  };
}

/** Figures of the same two distributions that do not depend on β, each [N]. No use as a loss. */
export interface TeacherFigures {
  /** KL(q‖p), nats. */
  readonly forwardKl: Tensor;
  /** KL(p‖q), nats. */
  readonly reverseKl: Tensor;
  /** Entropy of p, nats. */
  readonly entropy: Tensor;
}

/** @param student logits [N, V] @param teacher logits [N, V] */
export function teacherFigures(student: Tensor, teacher: Tensor): TeacherFigures {
  const [p, q] = [softmax(student), softmax(teacher)];
  const [logP, logQ] = [logSoftmax(student), logSoftmax(teacher)];
  const difference = sub(logP, logQ);
  return {
    forwardKl: neg(rowSums(mul(q, difference))),
    reverseKl: rowSums(mul(p, difference)),
    entropy: neg(rowSums(mul(p, logP))),
  };
}

const rowSums = (x: Tensor): Tensor => sum(x, { axes: -1 });
const column = (x: Tensor): Tensor => reshape(x, [x.shape[0]!, 1]);
