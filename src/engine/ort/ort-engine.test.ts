import { engineContract } from '../../../test/contracts/engine.ts';
import { createOrtEngine } from './ort-engine.ts';

engineContract('ort', createOrtEngine);
