// The camera: a live picture in place of the pad, of which the middle square is taken.

const WHY = {
  NotAllowedError: "The camera was refused; allow it for this page in the browser's address bar.",
  NotFoundError: "No camera was found.",
  NotReadableError: "The camera is in use by another program.",
};

export class Camera {
  constructor(video) {
    this.video = video;
    this.stream = null;
    this.isStarting = false;
  }

  // Browsers give pages a camera on this machine or over https only.
  get isThere() {
    return Boolean(navigator.mediaDevices?.getUserMedia);
  }

  get isOn() {
    return this.stream !== null && !this.isStarting;
  }

  // Returns whether it has started; not where it is about to, as on a second press of the button.
  async start() {
    if (this.isStarting) return false;
    this.isStarting = true;
    try {
      const wanted = { video: { facingMode: "environment", width: { ideal: 640 } }, audio: false };
      this.stream = await navigator.mediaDevices.getUserMedia(wanted);
      this.video.srcObject = this.stream;
      this.video.hidden = false;
      await this.video.play();
      return true;
    } catch (error) {
      this.stop();
      throw new Error(WHY[error.name] ?? `The camera cannot be used (${error.name}).`);
    } finally {
      this.isStarting = false;
    }
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.video.hidden = true;
  }

  // The middle square of what the camera sees, as an image file.
  toFile() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const side = Math.min(width, height);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const middle = [(width - side) / 2, (height - side) / 2];
    canvas.getContext("2d").drawImage(this.video, ...middle, side, side, 0, 0, side, side);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  }
}
