/** Score models with an adapter over the base of a language model's adapter. */
import { isInside } from './lora-config.ts';
import { attachLora, type LoraModel, type ModelWithParameters } from './lora-model.ts';
import { SCORE_WEIGHT, scoreModelOver } from './score-model.ts';

/**
 * A score model with an adapter of its own that starts as the policy's, over the same base: what `scoreModelFrom` is for
 * models without adapter. Its head is 0: a critic that expects nothing.
 */
export function scoreLoraFrom({
  model,
  parameters,
}: ModelWithParameters<LoraModel>): ModelWithParameters<LoraModel> {
  const { config, targets } = model.lora;
  const { base } = model;
  const ranks = new Map(targets.map(({ module, rank }) => [module, rank]));
  const scored = scoreModelOver({ model: base, parameters }, {});
  // Modules that a score model lacks (the output embedding) are left behind.
  const kept = config.modulesToSave.filter((module) =>
    scored.model.parameters.some(({ name }) => isInside(name, module)),
  );
  const adapted = attachLora(scored, { ...config, modulesToSave: [...kept, 'score'] }, { ranks });
  for (const { name } of adapted.parameters.specs) {
    if (name !== SCORE_WEIGHT) adapted.parameters.view(name).set(parameters.view(name));
  }
  return adapted;
}
