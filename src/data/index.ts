export * from './batches.ts';
export * from './chat-format.ts';
export * from './content-hash.ts';
export * from './converters.ts';
export * from './data-files.ts';
export * from './data-source.ts';
export * from './data-stats.ts';
export * from './describe-example.ts';
export * from './encode-cache.ts';
export * from './encode-rows.ts';
export * from './encoder.ts';
export type {
  EncodedExample,
  EncodedPair,
  EncodedPrompt,
  EncodedUnpaired,
  Truncation,
} from './example.ts';
export * from './open-data.ts';
export * from './pack.ts';
export { type ByteSource, openParquet, type ParquetFile } from './parquet/read-parquet.ts';
export * from './read-rows.ts';
export * from './row.ts';
export * from './row-key.ts';
export * from './row-types.ts';
export * from './segments.ts';
export * from './split-prompt.ts';
export * from './split-rows.ts';
export * from './stream.ts';
export * from './text-encoder.ts';
export * from './write-rows.ts';
