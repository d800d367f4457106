export * from './model.ts';
export * from './program-to-onnx.ts';
export * from './read-onnx.ts';
