export type { CausalInput, CausalModel, LayerCache, Weights } from './causal-model.ts';
export * from './checkpoint.ts';
export * from './float16.ts';
export { type LlamaConfig, llama, llamaConfig } from './llama.ts';
export { type Llama2cFile, readLlama2c } from './llama2c.ts';
export { type MistralConfig, mistral, mistralConfig } from './mistral.ts';
export { buildModel, modelTypes } from './registry.ts';
export * from './safetensors.ts';
export * from './score-model.ts';
