import { engineContract } from '../../../test/contracts/engine.ts';
import { createOrtNodeEngine } from './ort-node-engine.ts';

engineContract('ort-node', createOrtNodeEngine, {
  exceptions: {
    'leaves the event loop free during run': 'onnxruntime-node computes on the calling thread',
    'refuses memory that was transferred': 'onnxruntime-node keeps its own hold on the memory',
  },
});
