// A client of Genie in another language, made from the protos: labels a clip and simulates what its commonest action does.
//
//   npm install --prefix examples/node
//   node examples/node/what_if.js localhost:50051 frames.rgb WIDTH HEIGHT
//
// frames.rgb holds raw frames, 8-bit RGB, one after the other: ffmpeg -i video.mp4 -vf fps=10 -pix_fmt rgb24 frames.rgb
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.join(__dirname, "..", "..", "protos");
const files = ["labelling", "simulation"].map((name) => path.join(protos, "genie_api", "v1", `${name}.proto`));
const { genie_api } = grpc.loadPackageDefinition(
  loader.loadSync(files, { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true }),
);

async function main(address, file, width, height) {
  const raw = fs.readFileSync(file);
  const size = width * height * 3;
  if (!raw.length || raw.length % size) {
    throw new Error(`${file}: got ${raw.length} bytes, expected frames of ${size}: ${width} x ${height} RGB`);
  }
  const frames = {
    encoding: "FRAME_ENCODING_RAW",
    data_type: "DATA_TYPE_UINT8",
    count: raw.length / size,
    height,
    width,
    channels: 3,
    raw,
  };
  const credentials = grpc.credentials.createInsecure();
  const labelling = new genie_api.v1.LabellingService(address, credentials);
  const simulation = new genie_api.v1.SimulationService(address, credentials);
  try {
    const clip = await new Promise((resolve, reject) => {
      labelling.LabelClip({ options: { step: 1 }, frames }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    const codes = clip.labels.code.filter((_, i) => clip.labels.valid[i]);
    const counts = new Map();
    for (const code of codes) counts.set(code, (counts.get(code) || 0) + 1);
    const [commonest] = [...counts].sort((a, b) => b[1] - a[1])[0];
    console.log(`codes: ${codes.join(" ")}`);

    const prompt = { ...frames, count: 1, raw: raw.subarray(0, size) };
    const call = simulation.Rollout({ start: { prompt }, actions: { codes: Array(4).fill(commonest) } });
    for await (const step of call) {
      console.log(`frame ${step.index}: ${step.frame.width} x ${step.frame.height}, ${step.frame.raw.length} bytes`);
    }
  } finally {
    labelling.close();
    simulation.close();
  }
}

const [address, file, width, height] = process.argv.slice(2);
main(address, file, Number(width), Number(height)).catch((error) => {
  console.error(error.details || error.message); // the server says which field is wrong, and what it expected
  process.exit(1);
});
