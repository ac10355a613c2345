"""Flags that say which network learns, and how it adapts to a task: the inner loop."""

from anil_tf.flags.description import Flag, Group, boolean, choice, integer, or_auto, real, text
from anil_tf.flags.parsers import LayerCountParser

LEARNER = Group(
    "Learner: the network, and how it adapts to a task",
    [
        text(
            "body",
            "conv4",
            "The network: conv4, smooth_conv4 (conv4 with derivatives of every order, for the "
            "theory), resnet12, mlp, or applications:NAME for a network of keras.applications "
            "(such as applications:MobileNetV2).",
            "conv4|smooth_conv4|resnet12|mlp|applications:NAME",
        ),
        choice(
            "head",
            "free",
            ("free", "zero", "prototype", "ridge", "nil"),
            "Where adaptation starts the last layer: free = one learned row per class; zero; "
            "prototype = the class means, at a learned scale; ridge = closed-form ridge "
            "regression on one-hot targets, with learned scale and strength (R2D2); nil = no "
            "layer, cosine to the class means (in evaluate.py: for any finished run). These two "
            "have no inner loop. All but free ignore the order of classes and take any number of "
            "ways.",
        ),
        integer("filters", 64, "Filters per convolution of conv4; units per layer of mlp."),
        choice(
            "pooling",
            "max",
            ("max", "average", "strided"),
            "How conv4 halves its images: max or average pooling, or strided convolutions.",
        ),
        boolean("pretrained", False, "Load ImageNet weights into an applications body."),
        boolean(
            "train_body",
            True,
            "Train the body. --notrain_body freezes it, so that only the head is meta-trained.",
        ),
        Flag(
            "adapted_layers",
            1,
            LayerCountParser(),
            "How many last layers adapt to a task: 1 is ANIL, all is MAML.",
        ),
        choice(
            "frozen_in_adaptation",
            "none",
            ("none", "head"),
            "head: the last layer does not adapt, the adapted layers before it do (BOIL).",
        ),
        or_auto(
            integer(
                "inner_steps",
                5,
                "Steps of gradient descent in adaptation. auto: as many as lower the support "
                "loss by a share worth their cost, measured when training begins.",
                lower=0,
            )
        ),
        or_auto(
            real(
                "inner_step_size",
                0.1,
                "Step size of adaptation. auto: 1/L, with L the largest curvature of the "
                "support loss, measured when training begins.",
                open_below=True,
            )
        ),
        choice(
            "learned_inner_step_size",
            "none",
            ("none", "scalar", "per_variable"),
            "Learn the inner step size in the outer loop, starting at --inner_step_size: one "
            "scalar, or one per entry of each adapted variable (Meta-SGD).",
        ),
        real(
            "inner_l2",
            0.0,
            "Strength of (inner_l2 / 2) * squared norm of the adapted weights in the inner "
            "loss. Above 0 a linear head's inner problem is strongly convex. A ridge head "
            "starts from it.",
        ),
        boolean(
            "first_order",
            False,
            "Leave second derivatives out of the meta-gradient (FOMAML): short for "
            "--differentiation=first_order.",
        ),
        choice(
            "differentiation",
            "explicit",
            ("explicit", "unrolled", "implicit", "first_order", "truncated"),
            "How the meta-gradient passes through adaptation: explicit = Proposition 1, keeping "
            "the iterates and recomputing each inner step (memory all but flat in them); "
            "unrolled = back-propagation through all that every inner step computed (faster "
            "than explicit where steps are costly, as in MAML); implicit = adapt a linear head "
            "with --inner_l2 > 0 to its minimum, whatever --inner_steps and the start (which is thus "
            "not learned), and use the implicit function theorem; first_order = second "
            "derivatives dropped; truncated = to the last --truncated_to inner steps.",
        ),
        integer(
            "truncated_to",
            None,
            "With --differentiation=truncated: how many inner steps, the last ones, are "
            "differentiated through.",
        ),
        choice(
            "inner_solver",
            "newton",
            ("newton", "gradient_descent"),
            "With --differentiation=implicit: how the minimum is found.",
        ),
        real(
            "inner_tolerance",
            1e-5,
            "With --differentiation=implicit: norm of a task's support gradient at which its "
            "adaptation ends.",
            open_below=True,
        ),
        choice(
            "normalization",
            "episode",
            ("episode", "support", "running"),
            "Statistics of batch normalisation: of support and query images of the task "
            "(episode, as in most published rows), of the support images only (support), or "
            "moving averages when evaluated (running).",
        ),
        boolean(
            "mixed_precision",
            False,
            "Compute the body in bfloat16; weights and the head stay float32.",
        ),
        choice(
            "jit_compile",
            "auto",
            ("auto", "on", "off"),
            "Compile steps with XLA; auto: where it is faster (GPUs yes, CPUs no).",
        ),
    ],
)
