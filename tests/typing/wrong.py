"""What type checkers refuse: the lines that end in `# wrong`, and no others."""

from pathlib import Path

from PIL import Image

import openjepa


class Slides:
    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Image.Image:
        raise IndexError(index)


class Loud(openjepa.Callback):
    def on_step(self, step: str, loss: object) -> None:  # wrong
        print(step, loss)


images = [Image.new("RGB", (8, 8))]
run = openjepa.pretrain(images, out="runs/a", steps=6, image_size=(32, 64), device="cpu")
openjepa.pretrain(Slides(), out=Path("runs/b"), method="mae", callbacks=[openjepa.Callback()])
openjepa.pretrain("photos", out=run / "again", init=run, lr=1e-3)

openjepa.pretrain(images, out="runs/a", lr="1e-3")  # wrong
openjepa.pretrain(images, out="runs/a", steps=3.5)  # wrong
openjepa.pretrain(images, out="runs/a", workers=None)  # wrong
openjepa.pretrain(images, out="runs/a", learning_rate=1e-3)  # wrong
openjepa.pretrain(images, out="runs/a", method=Slides)  # wrong
openjepa.pretrain(images, out="runs/a", callbacks=[print])  # wrong
openjepa.pretrain(images, "runs/a")  # wrong
openjepa.pretrain(images)  # wrong
openjepa.pretrain(3, out="runs/a")  # wrong

openjepa.evaluate(run, "labelled", tasks="knn")
openjepa.evaluate([run, "runs/b"], images)
openjepa.evaluate(run, "labelled", task="knn")  # wrong
openjepa.embed(run, images, out="vectors.parquet", overwrite="yes")  # wrong
openjepa.prtrain(images, out="runs/a")  # wrong

width: int = run.encoder().embed(images).shape[1]
name: str = run.folder  # wrong
run.steps = 7  # wrong
run.encoder(which=3)  # wrong
rows: int = run.metrics().num_rows
run.resume(images, steps=12, lr=1e-4, data_changed=True, probe="labelled", method="mae")
run.resume(callbacks=Loud())  # wrong
run.resume(steps="12")  # wrong
run.resume(learning_rate=1e-4)  # wrong
run.resume(data_changed="yes")  # wrong
openjepa.load_encoder(run, image_size=32)  # wrong
