export * from './adapter-folder.ts';
export { type BertConfig, bert, bertConfig } from './bert.ts';
export type { CausalInput, CausalModel, LayerCache, Weights } from './causal-model.ts';
export * from './checkpoint.ts';
export type { ClassifierInput, ClassifierModel, LabelKind } from './classifier-model.ts';
export { companionFiles } from './companion-files.ts';
export * from './embedder.ts';
export * from './encoder-checkpoint.ts';
export { encoderScoreModel } from './encoder-score.ts';
export { type OnnxExportOptions, writeOnnxModel } from './export-onnx.ts';
export * from './float16.ts';
export { type Gemma2Config, gemma2, gemma2Config } from './gemma2.ts';
export { type Gemma3TextConfig, gemma3Text, gemma3TextConfig } from './gemma3-text.ts';
export { type GgufFile, type GgufTensor, type GgufValue, readGguf, readGgufTensor } from './gguf.ts';
export { type GgufModel, ggufArchitectures, readGgufModel } from './gguf-model.ts';
export { type GptNeoxConfig, gptNeox, gptNeoxConfig } from './gpt-neox.ts';
export { type Gpt2Config, gpt2, gpt2Config } from './gpt2.ts';
export { fetchSnapshot, type HubOptions, type HubRepository, locateModel, readHubId } from './hub.ts';
export { type LlamaConfig, llama, llamaConfig } from './llama.ts';
export { type Llama2cFile, readLlama2c } from './llama2c.ts';
export {
  checkImageTokens,
  type LlavaConfig,
  llava,
  llavaConfig,
  type MultimodalModel,
} from './llava.ts';
export * from './lora-config.ts';
export * from './lora-model.ts';
export * from './lora-score.ts';
export * from './merge-adapter.ts';
export { type MistralConfig, mistral, mistralConfig } from './mistral.ts';
export { type CardFigure, type ModelCard, modelCard, publicId } from './model-card.ts';
export { type ModernbertConfig, modernbert, modernbertConfig } from './modernbert.ts';
export { type Phi3Config, phi3, phi3Config } from './phi3.ts';
export * from './quantized-model.ts';
export { type Qwen2Config, qwen2, qwen2Config } from './qwen2.ts';
export { type Qwen3Config, qwen3, qwen3Config } from './qwen3.ts';
export {
  buildClassifier,
  buildModel,
  buildMultimodal,
  buildVision,
  classifierTypes,
  modelTypes,
} from './registry.ts';
export * from './safetensors.ts';
export * from './score-model.ts';
export { type SiglipVisionConfig, siglipVision, siglipVisionConfig, type VisionModel } from './siglip.ts';
export type { WeightSource } from './weight-source.ts';
export { writeModelFolder } from './write-folder.ts';
