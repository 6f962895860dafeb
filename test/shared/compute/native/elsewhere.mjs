/**
 * A program that has TensorFlow.js and `tributary-fl/native`, and nothing else of the product: it trains models of layers on the plain back end and
 * on the native one, and prints what comes out.
 */
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs';
import { registerNativeBackend } from 'tributary-fl/native';

const start = (seed) => tf.initializers.randomNormal({ stddev: 0.3, seed });
const drawn = (shape, seed) => tf.randomNormal(shape, 0, 1, 'float32', seed);

const models = {
  'embedding, layer norm and dense': () => ({
    layers: [
      tf.layers.embedding({ inputDim: 50, outputDim: 16, inputLength: 8, embeddingsInitializer: start(1) }),
      tf.layers.layerNormalization(),
      tf.layers.globalAveragePooling1d(),
      tf.layers.dense({ units: 32, activation: 'relu', kernelInitializer: start(2) }),
      tf.layers.dense({ units: 3, activation: 'softmax', kernelInitializer: start(3) }),
    ],
    inputs: tf.tidy(() => tf.floor(tf.mul(tf.randomUniform([48, 8], 0, 1, 'float32', 4), 50))),
    targets: tf.tidy(() =>
      tf.oneHot(
        tf.tensor1d(
          Array.from({ length: 48 }, (_, row) => row % 3),
          'int32',
        ),
        3,
      ),
    ),
    optimizer: tf.train.adam(0.01),
    loss: 'categoricalCrossentropy',
  }),
  'convolution, batch norm and pooling': () => ({
    layers: [
      tf.layers.conv2d({ inputShape: [12, 12, 2], filters: 4, kernelSize: 3, kernelInitializer: start(5) }),
      tf.layers.batchNormalization(),
      tf.layers.activation({ activation: 'elu' }),
      tf.layers.maxPooling2d({ poolSize: 2 }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 1, kernelInitializer: start(6), kernelRegularizer: tf.regularizers.l2() }),
    ],
    inputs: drawn([24, 12, 12, 2], 7),
    targets: drawn([24, 1], 8),
    optimizer: tf.train.rmsprop(0.01),
    loss: 'meanSquaredError',
  }),
  recurrent: () => {
    const settings = { units: 8, kernelInitializer: start(9), recurrentInitializer: start(10) };
    return {
      layers: [
        tf.layers.gru({ inputShape: [6, 5], returnSequences: true, ...settings }),
        tf.layers.lstm(settings),
        tf.layers.dense({ units: 1, activation: 'sigmoid', kernelInitializer: start(11) }),
      ],
      inputs: drawn([24, 6, 5], 12),
      targets: tf.tidy(() => tf.cast(tf.greater(drawn([24, 1], 13), 0), 'float32')),
      optimizer: tf.train.sgd(0.1),
      loss: 'binaryCrossentropy',
    };
  },
};

async function train(name) {
  const before = tf.memory().numTensors;
  const { layers, inputs, targets, optimizer, loss } = models[name]();
  const model = tf.sequential({ layers });
  model.compile({ optimizer, loss });
  const { history } = await model.fit(inputs, targets, { epochs: 3, batchSize: 8, shuffle: false, verbose: 0 });
  const scores = tf.tidy(() => [...model.predict(inputs).dataSync()]);
  const weights = model.getWeights().flatMap((weight) => [...weight.dataSync()]);
  tf.dispose([inputs, targets]);
  model.dispose();
  optimizer.dispose();
  return { losses: history.loss, scores, weights, leftTensors: tf.memory().numTensors - before };
}

tf.env().set('IS_TEST', true);
const required = createRequire(import.meta.url)('tributary-fl/native');
const { threads } = registerNativeBackend({ threads: 1 });
const trained = { cpu: {}, native: {} };
for (const backend of Object.keys(trained)) {
  await tf.setBackend(backend);
  for (const name of Object.keys(models)) trained[backend][name] = await train(name);
}
const kernelsOf = (backend) => tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName);
let refusal = '';
try {
  tf.engine().runKernel('Unheard', {}, {});
} catch (thrown) {
  refusal = thrown.message;
}
const isRequiredToo = required.registerNativeBackend === registerNativeBackend;
const kernels = { cpu: kernelsOf('cpu'), native: kernelsOf('native') };
console.log(JSON.stringify({ threads, isRequiredToo, trained, kernels, refusal }));
