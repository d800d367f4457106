/** The experiments by id. */

import { equalCompute } from './equal-compute.ts';
import { equalKl } from './equal-kl.ts';
import type { Experiment } from './experiment.ts';
import { overOptimization } from './over-optimization.ts';

export const experiments: readonly Experiment[] = [overOptimization, equalKl, equalCompute];
