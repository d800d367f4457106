export { readHfTokenizer } from './hf-tokenizer.ts';
export { readLlama2cTokenizer, readPieceVocabulary } from './llama2c-tokenizer.ts';
export * from './load-tokenizer.ts';
export { shownBytes, tokenBytes } from './token-bytes.ts';
export {
  checkTokenizerFits,
  type DecodeOptions,
  type EncodeOptions,
  type SpecialTokens,
  type Tokenizer,
} from './tokenizer.ts';
export { type TrainBpeOptions, trainBpe } from './train-bpe.ts';
