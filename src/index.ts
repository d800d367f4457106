/**
 * The names that most programs need. Everything else is under the areas: `heed/graph`, `heed/models`, `heed/tokenizer` and
 * so on.
 */
export {
  type ConfigField,
  type ConfigOf,
  type ConfigSchema,
  describeConfig,
  field,
  section,
} from './core/config.ts';
export * from './core/errors.ts';
export { type HostTensor, hostTensor } from './core/host-tensor.ts';
export { type ConfigSources, type ResolvedConfig, resolveConfig } from './core/resolve-config.ts';
export { createRng, type Rng } from './core/rng.ts';
export { type CreateEngineOptions, createEngine } from './engine/create-engine.ts';
export type { Engine, Executable } from './engine/engine.ts';
export {
  type Completion,
  createGenerator,
  type GenerateOptions,
  type Generator,
} from './generate/generate.ts';
export { grad, valueAndGrad } from './graph/gradient.ts';
export { type Program, printProgram, trace } from './graph/program.ts';
export type { Tensor } from './graph/tensor.ts';
export { config as ppoConfig, trainPpo } from './methods/online/ppo.ts';
export { type LoadedModel, loadModel, readModel, saveModel } from './models/checkpoint.ts';
export { scoreModelFrom } from './models/score-model.ts';
export { type RewardCard, readRewardCard } from './parts/scorer/reward-card.ts';
export { rewardModelScorer } from './parts/scorer/reward-model-scorer.ts';
export { functionScorer, type ScoreItem, type Scorer } from './parts/scorer/scorer.ts';
export { loadTokenizer, type Tokenizer } from './tokenizer/index.ts';
